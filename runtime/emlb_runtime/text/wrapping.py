"""Tell line breaks of wrapped text from those that end an item, a row or a sentence.

A break is soft only if the line before it was full and the words show that the text continues.
Neither sign is enough: all lines of a narrow list may be about as long as the longest one, and
de-identification leaves wrapped lines of any length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

SHORT = 0.75
"""A line ended on purpose if, with the next line's first word, it is at most this share of the
block's longest line. The rest is room for lines that changed after they were wrapped."""

NARROW = 20
"""Code points. Text is seldom wrapped to less, so a lower-case start shows no wrapping there."""

PROSE = 0.3
"""If at least this share of a block's full lines visibly continue, its other full lines do too."""

MANY, CLEAR = 4, 0.7
"""At least so many full lines, and at least this share of them visibly continuing, are surely a
paragraph."""

_ENTRY = re.compile(
    r"\W*((?:[^\W\d_][^\s\d.,;:]*\s+|[(\[][^\s\d.,;:]*\s+){1,4})\d[\d.,/]*\s*"
    r"(?:%|(?:mg|mcg|µg|g|ml|l|units?|iu|meq|mmol|tabs?|puffs?|drops?)\b)",
    re.IGNORECASE,
)
_FUNCTION_WORDS = frozenset(
    "a about after although an and are as at because been before being but by can could did do"
    " does during for from had has have he her his if in into is it its may more nor not of on or"
    " over per she should than that the their then there these they this to under until upon was"
    " we were when where which while who will with within without would you your".split()
)
_UNITS = frozenset(
    "ago bpm capsules cm day days drops g hours kg l lb mcg meq mg minutes ml mm mmol months pills"
    " pounds puffs tablet tablets tabs times units week weeks x year years".split()
)
_OPEN_END = tuple(",([{/&+–>→-")
_CLOSING = tuple(")]},;:.%/–-")
_CLOSERS = "\"'”’)]"
_ABBREVIATIONS = frozenset("dr mr mrs ms st vs approx vit e.g i.e fig no nos".split())


@dataclass(frozen=True, slots=True)
class _Break:
    """A line break within a block.

    Attributes:
        reach: length of the line before with the next word added, in code points.
        strong: whether grammar or punctuation shows that the text continues.
        between: whether a sentence ends here; the paragraph may still continue.
        weak: whether the next line begins in lower case.
        prose: whether the line before contains several function words.
    """

    reach: int
    strong: bool
    between: bool
    weak: bool
    prose: bool


def find_hard_breaks(
    quotes: Sequence[str], ended: Sequence[bool], indents: Sequence[int]
) -> list[bool]:
    """Find the breaks of a block that end what comes before them.

    Args:
        quotes: (n,) its lines, stripped.
        ended: (n - 1,) breaks that are hard for other reasons, such as a bullet.
        indents: (n,) characters before each line.

    Returns:
        (n - 1,) whether the next line does not continue the one before it.
    """
    if len(quotes) < 2:
        return []
    width = max(map(len, quotes))
    entries = [_is_entry(quote) for quote in quotes]
    breaks = [
        None if ended[i] else _read_break(quotes[i], quotes[i + 1], short=SHORT * width)
        for i in range(len(ended))
    ]
    breaks = [
        None if each and not each.strong and entries[i] and entries[i + 1] else each
        for i, each in enumerate(breaks)
    ]
    going_on = [each for each in breaks if each is not None and not each.between]
    is_narrow = width < NARROW
    visible = sum(each.strong or (each.weak and not is_narrow) for each in going_on)
    is_prose = visible > 0 and visible >= PROSE * len(going_on)
    # Where nearly all lines go on, a line that has room was changed after it was wrapped.
    is_paragraph = len(going_on) >= MANY and visible >= CLEAR * len(going_on)
    # Items in lower case: names with doses, or lines without function words.
    is_list = 2 <= sum(entries) >= len(quotes) / 2 or (
        len(going_on) > 1
        and not any(each.strong or each.prose for each in going_on)
        and sum(len(quote.split()) for quote in quotes) <= 3 * len(quotes)
    )
    hard = []
    for i, each in enumerate(breaks):
        is_outdented = i > 0 and indents[i] - 2 >= indents[i - 1] == indents[i + 1]
        if each is None or is_outdented or (is_list and not each.strong):
            hard.append(True)
        elif not each.between and (each.strong or (each.weak and not is_narrow)):
            hard.append(False)
        else:
            has_room = each.reach <= width and not is_paragraph
            hard.append(has_room or not (each.prose or is_prose))
    return hard


def _read_break(before: str, after: str, *, short: float) -> _Break | None:
    """Read the break between two lines; None if the first was ended on purpose."""
    first, *_ = after.split(maxsplit=1)
    reach = len(before) + 1 + len(first)
    if reach <= short:
        return None
    first = first.strip("\"'“‘(.,;:").lower() if first else first
    is_lower = after.lstrip("\"'“‘(")[:1].islower()
    words = before.lower().split()
    in_capitals = not is_lower and before.isupper() and after.isupper()
    strong = (
        words[-1] in _FUNCTION_WORDS
        or before.endswith(_OPEN_END)
        or ((is_lower or in_capitals) and first in _FUNCTION_WORDS)
        or after.startswith(_CLOSING)
        or _is_open(before)
        or (before[-1].isdigit() and first in _UNITS)
    )
    return _Break(
        reach=reach,
        strong=strong,
        between=not is_lower and _ends_sentence(before, words[-1]),
        weak=is_lower,
        prose=sum(word in _FUNCTION_WORDS for word in words) > 1,
    )


def _ends_sentence(quote: str, last_word: str) -> bool:
    """Whether a line ends with a sentence, and not with an abbreviation."""
    if not quote.rstrip(_CLOSERS).endswith((".", "!", "?")):
        return False
    word = last_word.strip("\"'“‘(").removesuffix(".")
    return not quote.endswith(".") or (len(word) > 1 and word not in _ABBREVIATIONS)


def _is_entry(quote: str) -> bool:
    """Whether the line begins with a name and its dose or value."""
    entry = _ENTRY.match(quote)
    return entry is not None and _FUNCTION_WORDS.isdisjoint(entry[1].lower().split())


def _is_open(quote: str) -> bool:
    """Whether a bracket opens in the line and is not closed there."""
    return quote.count("(") > quote.count(")") or quote.count("[") > quote.count("]")
