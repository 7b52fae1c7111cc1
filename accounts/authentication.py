"""Who is calling: access tokens."""

from rest_framework_simplejwt.authentication import JWTAuthentication


class AccessTokenAuthentication(JWTAuthentication):
    """Bearer access tokens."""
