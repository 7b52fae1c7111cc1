"""Custody: sealed for one place, opened only there, shown only masked."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections.custody import CredentialsUnreadable, mask, open_credentials, seal_credentials
from connections.gateways import Credentials
from connections.models import Connection
from desproject.lib.crypto import Keyring
from tests.connections.conftest import KEY

OLD_KEY, NEW_KEY = b"o" * 32, b"n" * 32


def sealed_row(user_id: UUID | None = None, keyring: Keyring | None = None) -> Connection:
    row = Connection(id=uuid4(), user_id=user_id or uuid4(), name="c", exchange="binance_spot", mode="simulator")
    sealed = seal_credentials(
        KEY, user_id=row.user_id, connection_id=row.pk, exchange=row.exchange, keyring=keyring
    )
    sealed.store_in(row)
    return row


def test_what_was_sealed_opens_again() -> None:
    row = sealed_row()

    assert open_credentials(row) == KEY
    assert row.api_key_sealed.startswith("ENC[v1]:")
    assert KEY.api_key not in row.api_key_sealed + row.api_secret_sealed


def test_a_row_survives_the_database(alice: User) -> None:
    row = sealed_row(alice.pk)
    with tenant_scope(alice.pk):
        row.save(force_insert=True)
        stored = Connection.objects.get(pk=row.pk)

    assert open_credentials(stored) == KEY
    assert stored.api_key_masked == "BINANCE_***_6789"


@pytest.mark.parametrize("column", ["api_key_sealed", "api_secret_sealed"])
def test_a_ciphertext_moved_to_another_row_doesnt_open(column: str) -> None:
    row, other = sealed_row(), sealed_row()
    setattr(row, column, getattr(other, column))

    with pytest.raises(CredentialsUnreadable):
        open_credentials(row)


def test_a_row_moved_to_another_tenant_doesnt_open() -> None:
    row = sealed_row()
    row.user_id = uuid4()

    with pytest.raises(CredentialsUnreadable):
        open_credentials(row)


def test_key_and_secret_cant_be_swapped() -> None:
    row = sealed_row()
    row.api_key_sealed, row.api_secret_sealed = row.api_secret_sealed, row.api_key_sealed

    with pytest.raises(CredentialsUnreadable):
        open_credentials(row)


def test_the_newest_master_key_seals_and_older_ones_still_open() -> None:
    old = sealed_row(keyring=Keyring({1: OLD_KEY}))
    both = Keyring({1: OLD_KEY, 2: NEW_KEY})
    new = sealed_row(keyring=both)

    assert (old.key_version, new.key_version) == (1, 2)
    assert open_credentials(old, keyring=both) == open_credentials(new, keyring=both) == KEY
    with pytest.raises(CredentialsUnreadable, match="version 2"):
        open_credentials(new, keyring=Keyring({1: OLD_KEY}))


def test_a_process_without_a_master_key_says_so(settings: object) -> None:
    row = sealed_row()
    settings.KEYRING = None  # type: ignore[attr-defined]

    with pytest.raises(CredentialsUnreadable, match="no master key"):
        open_credentials(row)


def test_errors_and_reprs_hold_neither_key_nor_ciphertext() -> None:
    row = sealed_row()
    row.user_id = uuid4()
    with pytest.raises(CredentialsUnreadable) as caught:
        open_credentials(row)
    sealed = seal_credentials(KEY, user_id=row.user_id, connection_id=row.pk, exchange="upbit")

    shown = f"{caught.value!r} {caught.value} {KEY!r} {sealed!r} {row!r}"
    for secret in (KEY.api_key, KEY.api_secret, row.api_key_sealed, sealed.api_key):
        assert secret not in shown
    assert caught.value.__cause__ is None


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=128))
def test_a_mask_shows_four_characters_at_most(api_key: str) -> None:
    masked = mask(api_key, "binance_spot")

    assert masked.startswith("BINANCE_***_")
    assert len(masked.removeprefix("BINANCE_***_")) <= 4
    assert api_key.endswith(masked.removeprefix("BINANCE_***_"))
    assert len(masked) <= 40


def test_of_a_short_key_nothing_is_shown() -> None:
    assert mask("abcd1234", "upbit") == "UPBIT_***_"


def test_each_sealing_is_different() -> None:
    place = {"user_id": uuid4(), "connection_id": uuid4(), "exchange": "upbit"}
    key = Credentials("k", "s")

    assert seal_credentials(key, **place).api_key != seal_credentials(key, **place).api_key  # type: ignore[arg-type]
