"""Users, their devices and log-in attempts, and the installation's own stored settings."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac

from accounts.tenancy import TenantModel


class Role(models.TextChoices):
    TRADER = "trader"
    MANAGER = "manager"
    ADMINISTRATOR = "administrator"


class UserManager(BaseUserManager["User"]):
    """Finds users by e-mail whatever its case; deleted ones are not found."""

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.with_email(username or "").get()

    def with_email(self, email: str) -> "models.QuerySet[User]":
        """The living user of this e-mail, if there is one."""
        return self.alias(lower_email=Lower("email")).filter(lower_email=email.strip().lower(), is_deleted=False)

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
    # Gets new features first (desproject/lib/features.py).
    is_alpha = models.BooleanField(default=False)
    is_deleted = models.BooleanField(default=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    token_version = models.PositiveIntegerField(default=0)
    otp_secret = models.TextField(blank=True, editable=False)
    otp_verified = models.BooleanField(default=False)
    # Of the newest code that was accepted: neither it nor an older one is taken again.
    otp_last_step = models.PositiveBigIntegerField(null=True, editable=False)
    failed_attempts = models.PositiveIntegerField(default=0)
    last_failed_at = models.DateTimeField(null=True, blank=True)
    locked_until = models.DateTimeField(null=True, blank=True)
    # Which one was used to register: its note and its last letters, never the code.
    beta_code = models.CharField(max_length=64, blank=True)
    # Of a trader in a team: who leads it.
    manager = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="team")
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

    def get_session_auth_hash(self) -> str:
        """Inside every browser session: one whose hash is no longer this is over."""
        secret = f"{self.password} {self.token_version}"
        return salted_hmac("accounts.User.session", secret, algorithm="sha256").hexdigest()

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


class RecoveryCode(models.Model):
    """Lets its user in once, in place of the second factor's code. Only its hash is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="recovery_codes")
    code_hash = models.CharField(max_length=64, editable=False)
    used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "recovery_codes"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "code_hash"], name="recovery_codes_user_hash")
        ]

    def __str__(self) -> str:
        return f"recovery code {self.pk}"


class LoginAttempt(models.Model):
    """Each try to log in, also of nobody known. ``reason``: the code of the error, where it was refused."""

    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="login_attempts")
    email = models.CharField(max_length=254)
    ip = models.GenericIPAddressField(null=True, blank=True)
    success = models.BooleanField()
    reason = models.CharField(max_length=32, blank=True)
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


class PasswordReset(models.Model):
    """One wish for a new password. ``user`` is null for an e-mail that nobody has: the row is written all the same.

    The token exists in the mail only; its hash is kept here by the task that sends it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="password_resets")
    token_hash = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001  # null: not yet
    ip = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    mailed_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "password_resets"
        indexes: ClassVar = [
            models.Index(fields=["user", "created_at"], name="password_resets_user"),
            models.Index(fields=["expires_at"], name="password_resets_expires"),
        ]

    def __str__(self) -> str:
        return f"password reset {self.pk}"


class BetaCode(models.Model):
    """Lets so many people register. Only its hash is kept; ``hint`` tells operators which one it is."""

    code_hash = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=64)
    max_uses = models.PositiveIntegerField(default=1)
    uses = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "beta_codes"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(uses__lte=models.F("max_uses")), name="beta_codes_uses")
        ]

    def __str__(self) -> str:
        return self.hint


class DisclosureAcceptance(TenantModel):
    """A user accepted one version of the risk disclosure (ACC-9)."""

    version = models.CharField(max_length=16)
    ip = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    accepted_at = models.DateTimeField()

    class Meta:
        db_table = "disclosure_acceptances"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "version"], name="disclosure_acceptances_once")
        ]

    def __str__(self) -> str:
        return f"disclosure {self.version}"


class LoginTries(models.Model):
    """Failed log-ins of one e-mail, whether anybody has it or not, or from one address (accounts/lockout.py)."""

    # "email:alice@example.org", "address:192.0.2.7", "address:2001:db8::/64"
    subject = models.CharField(max_length=270, primary_key=True)
    # Epoch seconds of those inside the window, oldest first.
    recent = models.JSONField(default=list)
    failed = models.PositiveIntegerField(default=0)
    locks = models.PositiveIntegerField(default=0)
    locked_until = models.DateTimeField(null=True)
    last_failed_at = models.DateTimeField(null=True, db_index=True)

    class Meta:
        db_table = "login_tries"
        verbose_name = verbose_name_plural = "login tries"

    def __str__(self) -> str:
        return self.subject


class SystemConfig(models.Model):
    """A setting of the whole installation that all processes share; secret values are stored sealed."""

    key = models.CharField(max_length=64, primary_key=True)
    value = models.TextField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "system_config"
        verbose_name = verbose_name_plural = "system configuration"

    def __str__(self) -> str:
        return self.key
