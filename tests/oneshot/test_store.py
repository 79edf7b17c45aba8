"""The content store keeps bytes by their digest, whole or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot import store


@given(st.binary(max_size=5000))
def test_gives_back_what_was_put(data):
    assert store.get(store.put(data)) == data


def test_equal_bytes_have_one_name_and_one_file():
    first, second = store.put(b"same"), store.put(b"same")
    assert first == second == store.digest_of(b"same")
    assert [path.name for path in store.path_of(first).parent.iterdir()] == [f"{first}.zst"]


def test_missing_content_says_which():
    with pytest.raises(store.ContentMissing, match="0" * 64):
        store.get("0" * 64)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "g" * 64, "0" * 63])
def test_a_name_that_is_no_digest_never_becomes_a_path(name):
    with pytest.raises(ValueError, match="not a content digest"):
        store.path_of(name)
