"""Line breaks: where running text was broken to fit a width, and where something ended.

A break is soft only where the line before it was full and the text shows that it goes on. Neither
is enough by itself: the lines of a narrow list are all about as long as the longest one, and in
text that somebody changed, as by de-identification, wrapped lines have any length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

SHORT = 0.75
"""Up to this share of the block's longest line, a line into which the next one's first word
would have fitted was ended on purpose. Wrapped text never is that short; the rest is room for
lines that changed after they were wrapped."""

NARROW = 20
"""Code points. Text is seldom wrapped to less: narrower lines need more to count as wrapped."""

PROSE = 0.3
"""Share of a block's full lines that must visibly go on for its other full lines to do so too."""

_WORD = re.compile(r"[^\W\d_]+")
_FIRST = re.compile(r"[\"'“‘(]*([^\W\d_]+)")
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
_OPEN_END = re.compile(r"[,(\[{/&+–>→-]$")
_CLOSING = re.compile(r"[)\]},;:.%/–-]")
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*$")
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|dr|mr|mrs|ms|st|vs|approx|vit|e\.g|i\.e|fig|nos?)\.$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Break:
    """A line break within a block.

    Attributes:
        reach: how long the line before would be with the next word on it.
        strong: whether grammar or punctuation says that the text goes on.
        between: whether a sentence ends here, and the next may go on in the same paragraph.
        weak: whether the next line begins in lower case.
        prose: whether the line before has the little words of running text.
        ended: whether something ended here, whatever the lengths.
    """

    reach: int
    strong: bool
    between: bool
    weak: bool
    prose: bool
    ended: bool


def find_hard_breaks(
    quotes: Sequence[str], ended: Sequence[bool], indents: Sequence[int]
) -> list[bool]:
    """Which breaks of a block end what stands before them.

    Args:
        quotes: (n,) its lines without white space at their ends.
        ended: (n - 1,) breaks that are hard for other reasons, such as a bullet.
        indents: (n,) characters before each line.

    Returns:
        (n - 1,) whether the next line does not go on from the one before it.
    """
    if len(quotes) < 2:
        return []
    words = [_WORD.findall(quote) for quote in quotes]
    breaks = [
        _read_break(quotes[i], quotes[i + 1], words[i], words[i + 1], is_ended=is_ended)
        for i, is_ended in enumerate(ended)
    ]
    width = max(map(len, quotes))
    full = [each for each in breaks if not each.ended and each.reach > SHORT * width]
    open_breaks = [each for each in full if not each.between]
    is_narrow = width < NARROW
    going = sum(each.strong or (each.weak and not is_narrow) for each in open_breaks)
    is_prose = going >= PROSE * max(1, len(open_breaks)) and going > 0
    # Items in lower case: no line of them has the little words of running text.
    is_list = len(open_breaks) > 1 and not any(e.strong or e.prose for e in open_breaks)
    is_list = is_list and sum(map(len, words)) <= 3 * len(words)
    hard = []
    for i, each in enumerate(breaks):
        is_outdented = i > 0 and indents[i] - 2 >= indents[i - 1] == indents[i + 1]
        if each.ended or is_outdented or each.reach <= SHORT * width or is_list:
            hard.append(True)
        elif not each.between and (each.strong or (each.weak and not is_narrow)):
            hard.append(False)
        else:
            hard.append(each.reach <= width or not (each.prose or is_prose))
    return hard


def _read_break(
    before: str,
    after: str,
    words_before: Sequence[str],
    words_after: Sequence[str],
    *,
    is_ended: bool,
) -> _Break:
    first = _FIRST.match(after)
    first_word = first[1] if first else ""
    is_lower = first_word[:1].islower()
    last_word = words_before[-1] if words_before and before.endswith(words_before[-1]) else ""
    in_capitals = before.isupper() and after.isupper()
    strong = (
        last_word.lower() in _FUNCTION_WORDS
        or _OPEN_END.search(before) is not None
        or ((is_lower or in_capitals) and first_word.lower() in _FUNCTION_WORDS)
        or _CLOSING.match(after) is not None
        or _is_open(before)
        or (before[-1:].isdigit() and first_word.lower() in _UNITS)
    )
    ends_sentence = _SENTENCE_END.search(before) is not None and not _ABBREVIATED.search(before)
    are_entries = _is_entry(before) and _is_entry(after)
    return _Break(
        reach=len(before) + 1 + len(after.split(maxsplit=1)[0]),
        strong=strong,
        between=ends_sentence and not is_lower,
        weak=is_lower,
        prose=sum(word.lower() in _FUNCTION_WORDS for word in words_before) > 1,
        ended=is_ended or (are_entries and not strong),
    )


def _is_entry(quote: str) -> bool:
    """Whether the line begins with a name and its dose or value."""
    entry = _ENTRY.match(quote)
    return entry is not None and not any(
        word in _FUNCTION_WORDS for word in entry[1].lower().split()
    )


def _is_open(quote: str) -> bool:
    """Whether a bracket opens in the line and is not closed there."""
    return quote.count("(") > quote.count(")") or quote.count("[") > quote.count("]")
