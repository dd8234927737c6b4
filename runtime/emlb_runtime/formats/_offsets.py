"""Offsets that another tool counted on another form of the same text.

brat on Windows reads CRLF as one character, some tools count UTF-16 units, and a corpus may
have had its line ends changed after annotation. The surfaces in the annotation file tell which
count was used. The offsets are then moved to where the surfaces stand.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emlb_runtime.formats.files.limits import Allowance
from emlb_runtime.records import Fragment

from . import report as reasons
from .report import check_spans

Spans = tuple[Fragment, ...]
"""The fragments of a mention."""


@dataclass(frozen=True, slots=True)
class Counting:
    """A way to count the characters of a text.

    Attributes:
        reason: what a report says of a mention that was moved; empty for code points.
        to_code_points: where an offset counted in this way points to in the text.
    """

    reason: str
    to_code_points: Callable[[int], int]

    def move(self, spans: Spans) -> Spans:
        """The fragments, counted in code points of the text."""
        return tuple((self.to_code_points(start), self.to_code_points(end)) for start, end in spans)


CODE_POINTS = Counting("", lambda offset: offset)
"""The count of all formats that EMLB reads."""


def surface_of(text: str, spans: Spans) -> str:
    """The mention as a T line of brat shows it: on one line, a space between fragments."""
    surface = " ".join(text[start:end] for start, end in spans)
    return surface.replace("\r", " ").replace("\n", " ")


def fits(text: str, spans: Spans, surface: str) -> bool:
    """Whether a surface stands at its offsets; white space may differ in kind and number.

    Args:
        text: the note.
        spans: fragments that ``check_spans`` has nothing against.
        surface: what should stand there.
    """
    found = surface_of(text, spans)
    return found == surface or _squeeze(found) == _squeeze(surface)


def choose_counting(text: str, surfaces: Sequence[tuple[Spans, str]]) -> Counting:
    """The count by which most of the surfaces stand at their offsets; code points if in doubt.

    Args:
        text: the note.
        surfaces: the fragments of each mention and the surface written with them.
    """
    best = CODE_POINTS
    most = _count_fitting(text, surfaces, best)
    for other in _other_countings(text):
        if most == len(surfaces):
            break
        fitting = _count_fitting(text, surfaces, other)
        if fitting > most:
            best, most = other, fitting
    return best


def _count_fitting(text: str, surfaces: Sequence[tuple[Spans, str]], counting: Counting) -> int:
    # Mentions may overlap: together they can be many times the text.
    allowance = Allowance()
    fitting = 0
    for spans, surface in surfaces:
        moved = counting.move(spans)
        if check_spans(moved, len(text)) is None and allowance.take(moved):
            fitting += fits(text, moved, surface)
    return fitting


def _other_countings(text: str) -> list[Counting]:
    found = []
    if crlf := [match.start() for match in re.finditer("\r\n", text)]:
        places = [place - number for number, place in enumerate(crlf)]
        found.append(
            Counting(reasons.CRLF_COUNTED_ONCE, lambda offset: offset + bisect_left(places, offset))
        )
    if lone := _second_units(r"(?<!\r)\n", text):
        found.append(
            Counting(reasons.CRLF_COUNTED_TWICE, lambda offset: offset - bisect_right(lone, offset))
        )
    if wide := _second_units("[\U00010000-\U0010ffff]", text):
        found.append(
            Counting(reasons.UTF16_COUNTED, lambda offset: offset - bisect_right(wide, offset))
        )
    return found


def _second_units(pattern: str, text: str) -> list[int]:
    """Where the second unit of each match stands if each match counts as two characters."""
    starts = (match.start() for match in re.finditer(pattern, text))
    return [start + number + 1 for number, start in enumerate(starts)]


def _squeeze(surface: str) -> str:
    """Tools differ in what they make of line ends and tabs inside a mention."""
    return re.sub(r"\s+", " ", surface)
