"""Users, their devices and log-in attempts, and the installation's own stored settings."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower


class Role(models.TextChoices):
    TRADER = "trader"
    MANAGER = "manager"
    ADMINISTRATOR = "administrator"


class UserManager(BaseUserManager["User"]):
    """Finds users by e-mail whatever its case; deleted ones are not found."""

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username, is_deleted=False)

    def create_user(self, email: str, password: str | None, **fields: Any) -> "User":
        user = self.model(email=email.strip(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None, **fields: Any) -> "User":
        return self.create_user(email, password, is_admin=True, role=Role.ADMINISTRATOR, **fields)


class User(AbstractBaseUser):
    """A tenant. ``token_version`` is inside every token: raising it revokes all of them at once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16, choices=Role, default=Role.TRADER)
    is_admin = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    is_deleted = models.BooleanField(default=False)
    token_version = models.PositiveIntegerField(default=0)
    otp_secret = models.TextField(blank=True, editable=False)
    otp_verified = models.BooleanField(default=False)
    failed_attempts = models.PositiveIntegerField(default=0)
    last_failed_at = models.DateTimeField(null=True, blank=True)
    locked_until = models.DateTimeField(null=True, blank=True)
    beta_code = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        db_table = "users"
        constraints: ClassVar = [
            models.UniqueConstraint(Lower("email"), condition=models.Q(is_deleted=False), name="users_email_living")
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def is_staff(self) -> bool:
        """Whether the admin site lets this user in."""
        return self.is_admin

    @property
    def is_superuser(self) -> bool:
        return self.is_admin

    def has_perm(self, perm: str, obj: object = None) -> bool:
        return self.is_active and self.is_admin

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active and self.is_admin


class Device(models.Model):
    """One place a user is logged in from. Its newest refresh token is ``refresh_jti``; revoked ends its tokens."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="devices")
    name = models.CharField(max_length=100)
    refresh_jti = models.UUIDField()
    user_agent = models.CharField(max_length=300, blank=True)
    ip = models.GenericIPAddressField(null=True, blank=True)
    last_used_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "devices"
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "name"], name="devices_user_name")]

    def __str__(self) -> str:
        return self.name


class LoginAttempt(models.Model):
    """Each try to log in, also of nobody known."""

    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="login_attempts")
    email = models.CharField(max_length=254)
    ip = models.GenericIPAddressField(null=True, blank=True)
    success = models.BooleanField()
    user_agent = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "login_attempts"
        indexes: ClassVar = [
            models.Index(fields=["email", "success", "created_at"], name="login_attempts_email"),
            models.Index(fields=["ip", "success", "created_at"], name="login_attempts_ip"),
        ]

    def __str__(self) -> str:
        return f"{self.email} {'succeeded' if self.success else 'failed'}"


class SystemConfig(models.Model):
    """A setting of the whole installation that all processes share; secret values are stored sealed."""

    key = models.CharField(max_length=64, primary_key=True)
    value = models.TextField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "system_config"

    def __str__(self) -> str:
        return self.key
