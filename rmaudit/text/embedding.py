"""Texts as unit vectors, so that the coverage audits can ask how far apart they are.

The default needs no download: TF-IDF and its leading singular vectors (latent semantic analysis,
Deerwester et al. 1990). It is fitted on all the texts compared, symmetrically: the feedback and the
deployment stay exchangeable if they were, and no word is invisible for being new.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np

from rmaudit.errors import UsageError
from rmaudit.typing import Float, Vectors

Encoder = Callable[[list[str]], Vectors]
"""Distinct texts to vectors, (n_texts, dimensions), of any length."""
TFIDF = "tfidf"
DIMENSIONS = 128
MOST_WORDS = 50_000
WORD = r"(?u)\w+"  # nosec B105 - a pattern of words
TINY = 1e-12


class Space:
    """A space of texts, fitted once: texts are placed in it without changing it.

    Parameters
    ----------
    texts
        What it is fitted on. Repeated texts and their order change nothing.
    embedder
        ``"tfidf"``, the name or folder of a sentence-transformers model, or a function.
    dimensions
        Of TF-IDF after the singular value decomposition; fewer where the texts have fewer.
    seed
        Of the randomised decomposition.

    Raises
    ------
    UsageError
        If the embedder is neither ``tfidf`` nor a model that can be loaded.
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        embedder: str | Encoder = TFIDF,
        dimensions: int = DIMENSIONS,
        seed: int = 0,
    ) -> None:
        self._tfidf: _TfIdf | None = None
        if embedder == TFIDF:
            self._tfidf = _TfIdf(sorted(set(texts)), dimensions, seed)
        else:
            self._encode = (
                _sentence_transformer(embedder) if isinstance(embedder, str) else embedder
            )

    def place(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts, (n_texts, dimensions), float32, rows of length one.

        Equal texts have equal vectors. Texts without a word have a direction of their own. So have
        words that no text of the fit has: by their weight a text is farther from all of these,
        and one of nothing else is at a right angle to them.
        """
        distinct = sorted(set(texts))
        if not distinct:
            return np.zeros((0, 1), dtype=np.float32)
        if self._tfidf is not None:
            vectors = _unit_rows(*self._tfidf.place(distinct))
        else:
            vectors = _unit_rows(self._encode(distinct), None)
        place = {text: i for i, text in enumerate(distinct)}
        return vectors[[place[text] for text in texts]]

    def new_words(self, text: str) -> dict[str, int]:
        """How often a text has each word that no text of the fit has; none of other embedders."""
        return {} if self._tfidf is None else self._tfidf.new_words(text)


def embed(
    *groups: Sequence[str],
    outsiders: Sequence[str] = (),
    embedder: str | Encoder = TFIDF,
    dimensions: int = DIMENSIONS,
    seed: int = 0,
) -> list[Vectors]:
    """Embed groups of texts in one space that is fitted on all of them.

    Parameters
    ----------
    groups
        Texts of the feedback, of the deployment, and so on.
    outsiders
        Texts to place in the same space without a say in it; they come last in the result. Texts
        that repeat those of one group would draw the space toward that group, whose distances
        would then grow.
    embedder, dimensions, seed
        See `Space`.

    Returns
    -------
    list of ndarray of shape (n_texts, dimensions), float32
        One a group, and one of the outsiders if there are any; see `Space.place`.

    Raises
    ------
    UsageError
        If the embedder is neither ``tfidf`` nor a model that can be loaded.
    """
    parts = [*groups, outsiders] if len(outsiders) else list(groups)
    texts = [text for part in parts for text in part]
    if not texts:
        return [np.zeros((0, 1), dtype=np.float32) for _ in parts]
    fitted = [text for part in groups for text in part]
    space = Space(fitted, embedder=embedder, dimensions=dimensions, seed=seed)
    return np.split(space.place(texts), np.cumsum([len(part) for part in parts])[:-1])


def unavailable(embedder: str) -> str | None:
    """What an embedder lacks on this machine, in words; None if it can be used."""
    if embedder == TFIDF or importlib.util.find_spec("sentence_transformers") is not None:
        return None
    return (
        f"the embedder {embedder!r} needs sentence-transformers: "
        "pip install sentence-transformers, or use --embedder tfidf"
    )


def one_thread() -> AbstractContextManager[Any]:
    """Holds linear algebra to one thread.

    Of some thousand rows, threads mostly wait for one another; and their number would decide the
    last bits of vectors, and by these which clusters are found.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


class _TfIdf:
    """TF-IDF of words and pairs of words, on its leading singular vectors."""

    def __init__(self, texts: list[str], dimensions: int, seed: int) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize
        from sklearn.utils.extmath import randomized_svd

        self._texts = texts
        self._axes: Vectors | None = None
        self._counter: Any = TfidfVectorizer(
            sublinear_tf=True,
            token_pattern=WORD,
            ngram_range=(1, 2),
            max_features=MOST_WORDS,
            norm=None,
            dtype=np.float32,
        )
        try:
            weights = normalize(self._counter.fit_transform(texts))
        except ValueError:  # no text has a word
            self._counter = None
            return
        kept = min(dimensions, min(weights.shape) - 1)
        if kept >= 2:
            with one_thread():
                _, _, self._axes = randomized_svd(weights, kept, random_state=seed)

    def place(self, texts: list[str]) -> tuple[Vectors, Float]:
        """Vectors of any length, (n, dimensions), and each text's share of weight on new words.

        The share is of squared weights; a new word has the inverse document frequency of one that
        is in no text. A vector is zero where no word is known.
        """
        from sklearn.preprocessing import normalize

        most = math.log(1 + len(self._texts)) + 1
        strange = np.array(
            [
                sum((most * (1 + math.log(n))) ** 2 for n in self.new_words(text).values())
                for text in texts
            ]
        )
        if self._counter is None:
            return np.zeros((len(texts), 1), dtype=np.float32), (strange > 0).astype(np.float64)
        weights = self._counter.transform(texts)
        known = np.asarray(weights.multiply(weights).sum(axis=1), dtype=np.float64).ravel()
        total = strange + known
        share = np.divide(strange, total, out=np.zeros(len(texts)), where=total > 0)
        unit = normalize(weights)
        vectors = unit.toarray() if self._axes is None else unit @ self._axes.T
        return np.asarray(vectors, dtype=np.float32), share

    def new_words(self, text: str) -> dict[str, int]:
        """How often a text has each word that no text of the fit has."""
        if text in self._fitted:
            return {}
        counts = Counter(re.findall(WORD, text.lower()))
        return {word: count for word, count in counts.items() if word not in self._words}

    @cached_property
    def _fitted(self) -> frozenset[str]:
        return frozenset(self._texts)

    @cached_property
    def _words(self) -> frozenset[str]:
        """Every word of the fit: the vocabulary, unless that was cut."""
        if self._counter is None:
            return frozenset()
        if len(self._counter.vocabulary_) < MOST_WORDS:
            return frozenset(self._counter.vocabulary_)
        return frozenset(word for text in self._texts for word in re.findall(WORD, text.lower()))


def _sentence_transformer(name: str) -> Encoder:
    lacking = unavailable(name)
    if lacking:
        raise UsageError(lacking)
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(name, device="cpu")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the embedder {name!r} cannot be loaded ({str(error).splitlines()[0]}); "
            "give the name or folder of a sentence-transformers model, or tfidf"
        ) from error
    return lambda texts: np.asarray(model.encode(texts, show_progress_bar=False), dtype=np.float32)


def _unit_rows(vectors: Vectors, unseen: Float | None) -> Vectors:
    """Rows of length one; further dimensions hold the rows that are zero, and what was unseen."""
    lengths = np.linalg.norm(vectors, axis=1)
    empty = lengths <= TINY
    rows = np.where(empty[:, None], 0.0, vectors / np.maximum(lengths, TINY)[:, None])
    known = np.column_stack([rows, empty])
    if unseen is None:
        return known.astype(np.float32)
    known = np.column_stack([known * np.sqrt(1 - unseen)[:, None], np.sqrt(unseen)])
    return known.astype(np.float32)
