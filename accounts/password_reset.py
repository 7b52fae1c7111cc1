"""A new password for who forgot theirs (ACC-5): a one-time token by mail.

Asking is the same work and the same answer for e-mails that nobody has. The token is made by the task that mails it:
it is in no task's payload, and in the database as a hash only.
"""

import hashlib
import secrets
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import QuerySet
from django_q.tasks import async_task

from accounts import limits, lockout, passwords
from accounts.caller import Caller
from accounts.journal import record_act
from accounts.models import PasswordReset, User
from accounts.services import set_password
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.errors import DomainError

log = structlog.get_logger(__name__)

_TOKEN_BYTES = 32
_MAIL = """Somebody, probably you, asked for a new password of your account at DES.

Your one-time code, valid for {minutes} minutes:

    {token}

Enter it where you asked for it, together with your new password. If it wasn't you who asked, do nothing: without this
code nobody can change your password.
"""


class ResetTokenInvalid(DomainError):
    """The token is wrong, was used, or is too old: one text for all."""

    code = "RESET_TOKEN_INVALID"
    status = 400


def request_reset(*, email: str, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> None:
    """Notes the wish and has the mail sent. Raises TooManyTries, ServiceUnavailable."""
    limits.check_reset(caller, email)
    user = User.objects.with_email(email).filter(is_active=True).first()
    note_wish(user, caller, clock)


def note_wish(user: User | None, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> None:
    """The row, and the task that mails its token. The same for nobody."""
    expires = clock.now() + timedelta(minutes=settings.CONFIG.password_reset_minutes)
    with transaction.atomic():
        wish = PasswordReset.objects.create(user=user, ip=caller.ip, expires_at=expires)
        record_act("password.reset_requested", user.pk if user else None, caller)
        transaction.on_commit(lambda: async_task("accounts.tasks.mail_password_reset", str(wish.pk)))


def mail_token(wish_id: UUID, clock: Clock = SYSTEM_CLOCK) -> None:
    """Makes the token and mails it. Done twice, the newer mail counts; a mailed one isn't mailed again."""
    wish = PasswordReset.objects.select_related("user").filter(pk=wish_id, mailed_at=None, used_at=None).first()
    if wish is None or wish.user is None or wish.expires_at <= clock.now():
        return
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    PasswordReset.objects.filter(pk=wish.pk).update(token_hash=_hash(token))
    text = _MAIL.format(token=token, minutes=settings.CONFIG.password_reset_minutes)
    if not settings.CONFIG.email_url:
        log.warning("mail_not_configured", setting="EMAIL_URL")
    send_mail("Your new password at DES", text, settings.DEFAULT_FROM_EMAIL, [wish.user.email])
    PasswordReset.objects.filter(pk=wish.pk).update(mailed_at=clock.now())


def confirm(*, token: str, new: str, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> None:
    """Sets the new password, ends every session of the user and forgets their failed log-ins.

    Raises ResetTokenInvalid, WeakPassword (the token stays good then), TooManyTries.
    """
    limits.check_reset(caller, None)
    wish = _open_wishes(clock).select_related("user").filter(token_hash=_hash(token)).first()
    user = wish.user if wish else None
    if wish is None or user is None or user.is_deleted or not user.is_active:
        raise _invalid()
    passwords.require_strong(new, user.email, "new_password")
    hashed = passwords.hash_password(new)
    with transaction.atomic():
        if not _open_wishes(clock).filter(pk=wish.pk).update(used_at=clock.now()):
            raise _invalid()
        # The others in the mailbox end with it.
        _open_wishes(clock).filter(user=user).update(used_at=clock.now())
        set_password(user, hashed, clock)
        lockout.unlock(user.email)
        record_act("password.reset", user.pk, caller)


def forget_old_wishes(clock: Clock = SYSTEM_CLOCK) -> int:
    """Removes the rows of tokens that ended more than a month ago; answers how many."""
    return PasswordReset.objects.filter(expires_at__lt=clock.now() - timedelta(days=30)).delete()[0]


def _open_wishes(clock: Clock) -> "QuerySet[PasswordReset]":
    return PasswordReset.objects.filter(used_at=None, expires_at__gt=clock.now())


def _invalid() -> ResetTokenInvalid:
    return ResetTokenInvalid("the code is wrong, was used before, or is too old")


def _hash(token: str) -> str:
    return hashlib.sha256(token.strip().encode()).hexdigest()
