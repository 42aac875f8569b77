"""Texts as unit vectors, so that the coverage audits can ask how far apart they are.

The default needs no download: TF-IDF and its leading singular vectors (latent semantic analysis,
Deerwester et al. 1990). It is fitted on all the texts compared, symmetrically: the feedback and the
deployment stay exchangeable if they were, and no word is invisible for being new.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from rmaudit.errors import UsageError
from rmaudit.typing import Vectors

Encoder = Callable[[list[str]], Vectors]
"""Distinct texts to vectors, (n_texts, dimensions), of any length."""
TFIDF = "tfidf"
DIMENSIONS = 128
MOST_WORDS = 50_000
TINY = 1e-12


def embed(
    *groups: Sequence[str],
    outsiders: Sequence[str] = (),
    embedder: str | Encoder = TFIDF,
    dimensions: int = DIMENSIONS,
    seed: int = 0,
) -> list[Vectors]:
    """Embed groups of texts in one space.

    Parameters
    ----------
    groups
        Texts of the feedback, of the deployment, and so on; TF-IDF is fitted on all together.
    outsiders
        Texts to place in the same space without a say in it; they come last in the result. Texts
        that repeat those of one group would draw the space toward that group, whose distances
        would then grow.
    embedder
        ``"tfidf"``, the name or folder of a sentence-transformers model, or a function.
    dimensions
        Of TF-IDF after the singular value decomposition; fewer where the texts have fewer.
    seed
        Of the randomised decomposition.

    Returns
    -------
    list of ndarray of shape (n_texts, dimensions), float32
        One a group, and one of the outsiders if there are any; rows of length one.
        Equal texts have equal vectors. Texts without a word have a direction of their own.

    Raises
    ------
    UsageError
        If the embedder is neither ``tfidf`` nor a model that can be loaded.
    """
    parts = [*groups, outsiders] if len(outsiders) else list(groups)
    texts = [text for part in parts for text in part]
    if not texts:
        return [np.zeros((0, 1), dtype=np.float32) for _ in parts]
    # Each text once, in an order of its own: repeated rows and their order change no vector.
    fitted = sorted({text for part in groups for text in part})
    distinct = fitted + sorted(set(outsiders).difference(fitted))
    if embedder == TFIDF:
        vectors = _tfidf(distinct, len(fitted), dimensions, seed)
    else:
        encode = _sentence_transformer(embedder) if isinstance(embedder, str) else embedder
        vectors = encode(distinct)
    place = {text: i for i, text in enumerate(distinct)}
    vectors = vectors[[place[text] for text in texts]]
    return np.split(_unit_rows(vectors), np.cumsum([len(part) for part in parts])[:-1])


def unavailable(embedder: str) -> str | None:
    """What an embedder lacks on this machine, in words; None if it can be used."""
    if embedder == TFIDF or importlib.util.find_spec("sentence_transformers") is not None:
        return None
    return (
        f"the embedder {embedder!r} needs sentence-transformers: "
        "pip install sentence-transformers, or use --embedder tfidf"
    )


def _tfidf(texts: list[str], fitted: int, dimensions: int, seed: int) -> Vectors:
    """Vectors of all texts in the space of the first `fitted`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.utils.extmath import randomized_svd

    vectorizer = TfidfVectorizer(
        sublinear_tf=True,
        token_pattern=r"(?u)\w+",  # nosec B106 - a pattern of words
        ngram_range=(1, 2),
        max_features=MOST_WORDS,
        dtype=np.float32,
    )
    try:
        vectorizer.fit(texts[:fitted])
    except ValueError:  # no text has a word
        return np.zeros((len(texts), 1), dtype=np.float32)
    weights = vectorizer.transform(texts)
    kept = min(dimensions, min(fitted, weights.shape[1]) - 1)
    if kept < 2:
        return np.asarray(weights.toarray(), dtype=np.float32)
    _, _, axes = randomized_svd(weights[:fitted], kept, random_state=seed)
    return np.asarray(weights @ axes.T, dtype=np.float32)


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


def _unit_rows(vectors: Vectors) -> Vectors:
    """Rows of length one; a further dimension holds the rows that are zero."""
    lengths = np.linalg.norm(vectors, axis=1)
    empty = lengths <= TINY
    rows = np.where(empty[:, None], 0.0, vectors / np.maximum(lengths, TINY)[:, None])
    return np.column_stack([rows, empty]).astype(np.float32)
