"""How hard texts are to read: words, syllables and sentences counted on bytes, all texts at once.

A million outputs take seconds: every step is one of numpy on the texts written one after another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rmaudit.text.patterns import TextChunk, unfenced
from rmaudit.typing import Float, Integers, Mask

LETTER, VOWEL, IN_WORD, SPACE, STOP, CLOSER, LINE = (1 << i for i in range(7))  # kinds, as bits


def _kinds() -> bytes:
    """The kinds of each of the 256 bytes."""
    ranges = {
        LETTER: [b"az", b"AZ"],
        VOWEL: [2 * byte.to_bytes() for byte in b"aeiouyAEIOUY"],
        IN_WORD: [b"az", b"AZ", b"09", b"__", b"\x80\xff"],  # what is not ASCII counts as a letter
        SPACE: [b"\t\r", b"\x1c "],
        STOP: [b"..", b"!!", b"??"],
        CLOSER: [2 * byte.to_bytes() for byte in b")\"'*]"],
        LINE: [b"\n\n"],
    }
    table = np.zeros(256, dtype=np.uint8)
    for kind, pairs in ranges.items():
        for first, last in pairs:
            table[first : last + 1] |= kind
    return table.tobytes()


_KINDS = _kinds()


def reading_grades(piece: TextChunk) -> Float:
    """Years of school needed to read each text with ease, (k,), at least 0; code does not count.

    Flesch & Kincaid (1975): 0.39 words a sentence + 11.8 syllables a word - 15.59; 0 for texts
    without words. A word is a run of English letters, or two around an apostrophe. Its syllables
    are its groups of vowels, less a final e that follows a consonant other than l, and at least
    one. A sentence ends with a stop after a word and before white space, or with its line.
    """
    encoded = [unfenced(text).encode("utf-8", "surrogatepass") for text in piece.texts]
    # Every text begins after a line's end and ends with one.
    text = b"\n".join([b"", *encoded, b""])
    kinds = np.frombuffer(text.translate(_KINDS), dtype=np.uint8)
    ends = np.cumsum([1 + len(each) for each in encoded])
    words, syllables = _words(np.frombuffer(text, dtype=np.uint8), kinds, ends)
    sentences = sum(_count(places, ends) for places in _sentence_ends(kinds))
    per_sentence = words / np.maximum(sentences, 1)
    grades = 0.39 * per_sentence + 11.8 * syllables / np.maximum(words, 1) - 15.59
    return np.where(words > 0, np.maximum(grades, 0.0), 0.0)


def _count(places: Integers, ends: Integers) -> Integers:
    """How many of the places, in order, are in each text, (k,)."""
    return np.diff(np.searchsorted(places, ends, side="right"), prepend=0)


def _words(
    text: NDArray[np.uint8], kinds: NDArray[np.uint8], ends: Integers
) -> tuple[Integers, Integers]:
    """Words and syllables of each text, (k,) each."""
    letter, vowel = (kinds & LETTER) != 0, (kinds & VOWEL) != 0
    starts = 1 + np.flatnonzero(letter[1:] & ~letter[:-1])  # of runs of letters
    joint = 1 + np.flatnonzero((text[1:-1] == ord("'")) & letter[:-2] & letter[2:])
    run = np.searchsorted(starts, joint) - 1  # before the apostrophe
    # In a'b'c the second apostrophe joins nothing: a word has one at most.
    place = np.arange(len(run))
    first = np.maximum.accumulate(np.where(np.diff(run, prepend=-2) > 1, place, 0))
    joins = (place - first) % 2 == 0
    joint, run = joint[joins], run[joins]
    begins = np.ones(len(starts), dtype=np.bool_)  # a word, not its part after the apostrophe
    begins[run + 1] = False
    begin = starts[begins]
    final = 1 + np.flatnonzero(((text[1:-1] | 32) == ord("e")) & ~letter[2:])
    before = kinds[final - 1]
    consonant = ((before & (LETTER | VOWEL)) == LETTER) & ((text[final - 1] | 32) != ord("l"))
    heard = np.zeros(len(text), dtype=np.int8)
    heard[1:] = vowel[1:] & ~vowel[:-1]
    heard[final[consonant | np.isin(final - 1, joint)]] -= 1
    total = np.cumsum(heard, dtype=np.int32)  # up to each byte
    of_word = np.diff(total[begin - 1], append=total[-1])
    up_to = np.cumsum(np.r_[0, np.maximum(of_word, 1)])
    words = np.searchsorted(begin, ends, side="right")  # up to the end of each text
    return np.diff(words, prepend=0), np.diff(up_to[words], prepend=0)


def _sentence_ends(kinds: NDArray[np.uint8]) -> tuple[Integers, Integers]:
    """Stops after a word and before white space; ends of lines after a word without a stop."""
    stop = (kinds & STOP) != 0
    stops = np.flatnonzero(stop[:-1] & ((kinds[1:] & SPACE) != 0))
    lines = np.flatnonzero((kinds & LINE) != 0)[1:]
    after_word = _before((kinds & CLOSER) != 0, _before(stop, stops))
    # From the end of a line back over what is neither of a word nor a stop.
    last = _before((kinds & (IN_WORD | STOP | LINE)) == 0, lines - 1)
    in_word = (kinds & IN_WORD) != 0
    return stops[in_word[after_word]], lines[in_word[last]]


def _before(marked: Mask, places: Integers) -> Integers:
    """Where a marked run that reaches each place is preceded; the place itself if unmarked."""
    starts = np.flatnonzero(marked & ~np.r_[False, marked[:-1]])
    if not len(starts):
        return places
    first = starts[np.maximum(np.searchsorted(starts, places, side="right") - 1, 0)]
    return np.where(marked[places], first - 1, places)
