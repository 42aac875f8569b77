"""How hard texts are to read: words, syllables and sentences counted on bytes, all texts at once.

A million outputs take seconds: every step is one of numpy on the texts written one after another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rmaudit.text.patterns import TextChunk, unfenced
from rmaudit.typing import Float, Integers, Mask


def _marked(*ranges: bytes) -> Mask:
    """A table of the 256 bytes: which are in the ranges (first and last byte)."""
    table = np.zeros(256, dtype=np.bool_)
    for first, last in ranges:
        table[first : last + 1] = True
    return table


_LETTER = _marked(b"az", b"AZ")
_VOWEL = _marked(*(2 * byte.to_bytes() for byte in b"aeiouyAEIOUY"))
_IN_WORD = _marked(b"az", b"AZ", b"09", b"__", b"\x80\xff")  # what is not ASCII counts as a letter
_SPACE = _marked(b"\t\r", b"\x1c ")
_STOP = _marked(b"..", b"!!", b"??")
_CLOSER = _marked(*(2 * byte.to_bytes() for byte in b")\"'*]"))


def reading_grades(piece: TextChunk) -> Float:
    """Years of school needed to read each text with ease, (k,), at least 0; code does not count.

    Flesch & Kincaid (1975): 0.39 words a sentence + 11.8 syllables a word - 15.59; 0 for texts
    without words. A word is a run of English letters, or two around an apostrophe. Its syllables
    are its groups of vowels, less a final e that follows a consonant other than l, and at least
    one. A sentence ends with a stop after a word and before white space, or with its line.
    """
    encoded = [unfenced(text).encode("utf-8", "surrogatepass") for text in piece.texts]
    # Every text begins after a line's end and ends with one.
    text = np.frombuffer(b"\n".join([b"", *encoded, b""]), dtype=np.uint8)
    ends = np.cumsum([1 + len(each) for each in encoded])
    words, syllables = _words(text, ends)
    sentences = _count(_sentence_ends(text), ends)
    per_sentence = words / np.maximum(sentences, 1)
    grades = 0.39 * per_sentence + 11.8 * syllables / np.maximum(words, 1) - 15.59
    return np.where(words > 0, np.maximum(grades, 0.0), 0.0)


def _count(places: Integers, ends: Integers) -> Integers:
    """How many of the places, in any order, are in each text, (k,)."""
    return np.bincount(np.searchsorted(ends, places), minlength=len(ends)).astype(np.int64)


def _words(text: NDArray[np.uint8], ends: Integers) -> tuple[Integers, Float]:
    """Words and syllables of each text, (k,) each."""
    letter, vowel = _LETTER[text], _VOWEL[text]
    starts = np.flatnonzero(letter[1:] & ~letter[:-1]) + 1  # of runs of letters
    joint = 1 + np.flatnonzero((text[1:-1] == ord("'")) & letter[:-2] & letter[2:])
    run = np.searchsorted(starts, joint) - 1  # before the apostrophe
    # In a'b'c the second apostrophe joins nothing: a word has one at most.
    place = np.arange(len(run))
    first = np.maximum.accumulate(np.where(np.diff(run, prepend=-2) > 1, place, 0))
    joins = (place - first) % 2 == 0
    joint, run = joint[joins], run[joins]
    begins = np.ones(len(starts), dtype=np.bool_)  # a word, not its part after the apostrophe
    begins[run + 1] = False
    word = np.cumsum(begins) - 1  # of each run
    groups = 1 + np.flatnonzero(vowel[1:] & ~vowel[:-1])
    final = 1 + np.flatnonzero(((text[1:-1] | 32) == ord("e")) & ~letter[2:])
    before = text[final - 1]
    consonant = _LETTER[before] & ~_VOWEL[before] & ((before | 32) != ord("l"))
    silent = final[consonant | np.isin(final - 1, joint)]
    n_words = int(begins.sum())
    heard = np.zeros(n_words, dtype=np.int64)
    for places, sign in ((groups, 1), (silent, -1)):
        owner = word[np.searchsorted(starts, places, side="right") - 1]
        heard += sign * np.bincount(owner, minlength=n_words)
    of_word = np.searchsorted(ends, starts[begins])
    syllables = np.bincount(of_word, np.maximum(heard, 1), minlength=len(ends))
    return np.bincount(of_word, minlength=len(ends)), syllables.astype(np.float64)


def _sentence_ends(text: NDArray[np.uint8]) -> Integers:
    """Stops after a word and before white space; ends of lines after a word without a stop."""
    stop, line = _STOP[text], text == ord("\n")
    stops = np.flatnonzero(stop[:-1] & _SPACE[text[1:]])
    lines = np.flatnonzero(line)[1:]
    after_word = _before(_CLOSER[text], _before(stop, stops))
    # From the end of a line back over what is neither of a word nor a stop.
    other = ~(_IN_WORD[text] | stop | line)
    last = _before(other, lines - 1)
    return np.append(stops[_IN_WORD[text[after_word]]], lines[_IN_WORD[text[last]]])


def _before(marked: Mask, places: Integers) -> Integers:
    """Where a marked run that reaches each place is preceded; the place itself if unmarked."""
    starts = np.flatnonzero(marked & ~np.r_[False, marked[:-1]])
    if not len(starts):
        return places
    first = starts[np.maximum(np.searchsorted(starts, places, side="right") - 1, 0)]
    return np.where(marked[places], first - 1, places)
