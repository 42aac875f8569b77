"""Embeddings: one space, unit length, and texts too few or too empty for a decomposition."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from rmaudit.errors import UsageError
from rmaudit.text.embedding import embed, unavailable

VISITS = ["move my visit to Friday", "move my visit to Monday", "cancel my visit on Friday"]
BILLS = ["the invoice was paid twice", "refund the invoice I paid", "why was the invoice so high"]


def test_rows_have_length_one_and_equal_texts_are_equal() -> None:
    first, second = embed(VISITS * 5, [*BILLS, VISITS[0]])
    assert first.dtype == np.float32
    assert (len(first), len(second)) == (15, 4)
    np.testing.assert_allclose(np.linalg.norm(np.r_[first, second], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(first[0] @ second[3], 1, atol=1e-6)


def test_texts_with_words_in_common_are_nearer() -> None:
    visits, bills = embed(VISITS, BILLS, dimensions=3)
    assert (visits @ visits.T).min() > (visits @ bills.T).max()


def test_the_same_seed_gives_the_same_vectors() -> None:
    np.testing.assert_array_equal(embed(VISITS, BILLS)[1], embed(VISITS, BILLS)[1])


def test_the_number_of_threads_decides_nothing() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in row) for row in rng.integers(0, 2000, (1500, 4))]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(embed(texts)[0])
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    "texts", [["one"], ["same words"] * 4, ["one", "two"], ["", ""], ["", "word"], ["!", "?"]]
)
def test_tiny_corpora(texts: list[str]) -> None:
    (found,) = embed(texts)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    wordless = [text in ("", "!", "?") for text in texts]
    for i in range(len(texts)):
        for j in range(i):
            alike = texts[i] == texts[j] or (wordless[i] and wordless[j])
            assert found[i] @ found[j] == pytest.approx(float(alike), abs=1e-6)


def test_bystanders_are_placed_and_change_nothing() -> None:
    alone = embed(VISITS, BILLS)
    visits, bills, placed = embed(VISITS, BILLS, outsiders=[BILLS[1], "unheard-of", *BILLS])
    np.testing.assert_array_equal(visits, alone[0])
    np.testing.assert_array_equal(bills, alone[1])
    np.testing.assert_allclose(placed[0] @ bills[1], 1, atol=1e-6)
    assert np.abs(placed[1] @ bills.T).max() < 1e-6


def test_groups_may_be_empty() -> None:
    empty, some = embed([], VISITS)
    assert (len(empty), len(some)) == (0, 3)
    assert [len(group) for group in embed([], [])] == [0, 0]


def test_a_sentence_transformers_model_is_used_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Letters:
        def __init__(self, name: str, device: str) -> None:
            if name != "letters":
                raise OSError(f"{name} is not a model\nmore lines")

        def encode(self, texts: list[str], show_progress_bar: bool) -> np.ndarray:
            return np.array([[text.count("a"), text.count("b")] for text in texts], dtype=float)

    module = types.ModuleType("sentence_transformers")
    module.__spec__ = __import__("importlib").machinery.ModuleSpec("sentence_transformers", None)
    module.SentenceTransformer = Letters  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    (found,) = embed(["aaabbbb", "cc"], embedder="letters")
    np.testing.assert_allclose(found, [[0.6, 0.8, 0], [0, 0, 1]], atol=1e-6)
    with pytest.raises(UsageError, match="'numbers' cannot be loaded"):
        embed(["a"], embedder="numbers")


def test_a_model_without_its_library_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert unavailable("tfidf") is None
    with pytest.raises(UsageError, match="pip install sentence-transformers"):
        embed(["a"], embedder="all-MiniLM-L6-v2")
