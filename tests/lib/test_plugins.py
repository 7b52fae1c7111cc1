import pytest

from desproject.lib.plugins import DuplicateSlug, discover
from tests.lib import plugins_found, plugins_twice


def test_plugins_are_found_by_slug_in_its_order_and_shared_code_is_left_out() -> None:
    found = discover(plugins_found, "Plugin")
    assert list(found) == ["apple", "zebra"]
    assert all(found[slug].slug == slug for slug in found)


def test_nothing_has_another_name() -> None:
    assert discover(plugins_found, "Strategy") == {}


def test_a_slug_taken_twice_is_an_error() -> None:
    with pytest.raises(DuplicateSlug, match="same"):
        discover(plugins_twice, "Plugin")
