"""Keys name texts: equal exactly when the texts are."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rmaudit.scoring.keys import distinct, keys_from_bytes, keys_to_bytes, text_keys
from rmaudit.scoring.requests import Request

MESSAGE = st.fixed_dictionaries({"role": st.text(max_size=3), "content": st.text(max_size=3)})
PROMPT = st.one_of(st.text(max_size=4), st.lists(MESSAGE, max_size=3))
TEXT = st.tuples(PROMPT, st.text(max_size=4), st.sampled_from(["plain", "alone", "left"]))


def key_of(prompt, output, mode="plain"):
    return keys_to_bytes(text_keys([Request("s", ["1"], [prompt], [output], mode=mode)]))


def test_key_is_the_hash_of_mode_lengths_prompt_and_output():
    # Stores outlive releases: this key must not change unnoticed.
    assert key_of("ab", "c") == blake2b(b"plain text 2:abc", digest_size=16).digest()
    messages = [{"role": "user", "content": "hi"}]
    canonical = b"left messages 1:4:user2:hiyo"
    assert key_of(messages, "yo", "left") == blake2b(canonical, digest_size=16).digest()


def test_texts_that_concatenate_alike_have_different_keys():
    turns = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    joined = [{"role": "user", "content": "ab"}]
    keys = {
        key_of("ab", "c"),
        key_of("a", "bc"),
        key_of("", "abc"),
        key_of("ab", "c", "left"),
        key_of("ab", "c", "alone"),
        key_of(turns, "c"),
        key_of(joined, "c"),
        key_of([], "abc"),
    }
    assert len(keys) == 8


@given(TEXT, TEXT)
def test_keys_are_equal_exactly_when_texts_are(one, other):
    assert (key_of(*one) == key_of(*other)) == (one == other)


def test_lone_surrogates_have_keys_of_their_own():
    assert key_of("p", "\ud800") != key_of("p", "\ud801")


def test_bytes_round_trip_and_sort_as_the_keys_do():
    rng = np.random.default_rng(0)
    data = rng.bytes(16 * 200)
    keys = keys_from_bytes(data)
    assert keys_to_bytes(keys) == data
    chunks = [data[i : i + 16] for i in range(0, len(data), 16)]
    assert keys_to_bytes(distinct(keys).keys) == b"".join(sorted(chunks))


def test_distinct_keeps_each_key_once_with_its_first_place():
    keys = np.array([[2, 1], [1, 9], [2, 1], [2, 0], [1, 9]], dtype=np.uint64)
    result = distinct(keys)
    assert result.keys.tolist() == [[1, 9], [2, 0], [2, 1]]
    assert result.first.tolist() == [1, 3, 0]
    assert result.inverse.tolist() == [2, 0, 2, 1, 0]
    assert (result.keys[result.inverse] == keys).all()


def test_distinct_of_nothing_is_nothing():
    result = distinct(text_keys([]))
    assert len(result.keys) == len(result.first) == len(result.inverse) == 0
