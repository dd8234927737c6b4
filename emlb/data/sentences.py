"""Where sentences end, as far as counting what crosses them needs it."""

from __future__ import annotations

import re
from bisect import bisect_left

_BREAK = re.compile(r"""[.!?]['")\]]*\s+(?=['"(\[]?[A-Z0-9])|\n\s*""")


def sentence_starts(text: str) -> list[int]:
    """Code points at which a new sentence or line begins, without the first.

    A mark followed by white space and a capital or digit ends a sentence, so that some
    abbreviations do too: good for statistics, not for cutting.
    """
    return [match.end() for match in _BREAK.finditer(text)]


def is_cross_sentence(starts: list[int], first: int, second: int) -> bool:
    """Whether a sentence begins after code point ``first`` and not after ``second``.

    Args:
        starts: what ``sentence_starts`` gave.
        first: start of the earlier mention.
        second: start of the later one.
    """
    return bisect_left(starts, first + 1) < bisect_left(starts, second + 1)


def sentences(text: str) -> list[str]:
    """The text's sentences and lines, without white space around them."""
    bounds = [0, *sentence_starts(text), len(text)]
    found = (text[a:b].strip() for a, b in zip(bounds, bounds[1:], strict=False))
    return [sentence for sentence in found if sentence]
