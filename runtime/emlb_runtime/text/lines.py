"""The lines of a note: which are headings, items of a list, rows of a table or wrapped text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .wrapping import find_hard_breaks

BLOCK = 500
"""Lines of a block that are looked at together."""

_LINE_ENDS = "\n\x0b\x0c\r\x85\u2028\u2029"
_LINE_END = re.compile(f"\r\n|[{_LINE_ENDS}]")
_LINE = re.compile(rf"\S[^{_LINE_ENDS}]*")
_GAP = re.compile(r"\s*\t\s*|\s{3,}")
_NARROW_GAP = re.compile(r"\s*\t\s*|\s{2,}")
_PIPES = frozenset("|¦│║")
_PIPE = re.compile(r"[|¦│║]")
_LONE_PIPE = re.compile(r"(?<!\S)[|¦│║](?!\S)")
_BULLET = re.compile(
    r"[•●▪◦‣○■□➢►✓☐☑☒]|→(?!\s*[\d<>])|[-=]>(?!\s*[\d<>])|[-*·–—+#](?=\s)|\[[ xX]?\](?=\s)"
)
_NUMBER = re.compile(
    r"\(?[0-9]{1,3}[.)](?=\s|[^\W\d_])|\(?[A-Za-z][.)](?=\s)|[0-9]{1,3}(?=[^\S\n\r]{2}|\t)"
)
_HEADING = re.compile(rf"[^\W\d_][^:{_LINE_ENDS}]{{0,39}}:(?=\s|$)")
_BARE_HEADING = re.compile(r"[A-Z][A-Za-z/&' -]{2,48}")
_HEADS = re.compile(
    r"\b(?:allerg(?:y|ies)|assessment|complaints?|course|diagnos[ie]s|exam(?:ination)?|findings"
    r"|history|hpi|impression|indications?|instructions|investigations|labs?|medications?|meds"
    r"|pmh|plan|problems?|procedures?|results|review of systems|summary|vitals|vital signs)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank. Places are code points of the note.

    Attributes:
        start: its first character that is not white space.
        end: one past its last character that is not white space.
        cells: where a cell begins after a tab, a wide gap or a pipe.
        is_row: whether it is a row of a table.
        heading: the end of the heading that the line begins with; ``start`` if there is none.
        starts_block: whether a blank line, or nothing, comes before it.
        starts_item: whether it does not go on from the line before it.
    """

    start: int
    end: int
    cells: tuple[int, ...]
    is_row: bool
    heading: int
    starts_block: bool
    starts_item: bool


def read_lines(text: str) -> Iterator[Line]:
    """Yield the lines of a note that are not blank, in order."""
    block: list[_Draft] = []
    end = 0
    for match in _LINE.finditer(text):
        start = match.start()
        indent, is_first = 0, not block
        if start - end > 1 or is_first:
            ends = [found.end() for found in _LINE_END.finditer(text, end, start)]
            indent, is_first = start - (ends[-1] if ends else end), is_first or len(ends) > 1
        if is_first:
            yield from _judge(block)
            block = []
        elif len(block) == BLOCK:
            *judged, last = _judge(block)
            yield from judged
            block = [replace(block[-1], starts_item=last.starts_item)]
        quote = match[0].rstrip()
        end = start + len(quote)
        block.append(_read_line(quote, start, indent, is_first=is_first))
    yield from _judge(block)


@dataclass(slots=True)
class _Draft:
    """A line before its neighbours are known. Places count from ``start``.

    Gaps are the ends of tabs, pipes and two or more spaces. In a row, every gap begins a cell;
    elsewhere only the wide gaps in ``cells`` do. Columns are the gaps that may divide a row,
    counted from the left margin.
    """

    quote: str
    start: int
    indent: int
    gaps: list[int]
    cells: list[int]
    columns: list[int]
    is_row: bool
    bullet: bool
    number: bool
    heading: int
    starts_block: bool
    starts_item: bool

    def finish(self, *, starts_item: bool) -> Line:
        """The line."""
        start = self.start
        return Line(
            start=start,
            end=start + len(self.quote),
            cells=tuple([start + place for place in (self.gaps if self.is_row else self.cells)]),
            is_row=self.is_row,
            heading=start + self.heading,
            starts_block=self.starts_block,
            starts_item=starts_item,
        )


def _read_line(quote: str, start: int, indent: int, *, is_first: bool) -> _Draft:
    gaps: list[int] = []
    cells: list[int] = []
    columns: list[int] = []
    is_row = False
    if not _PIPES.isdisjoint(quote) and (
        sum(map(quote.count, _PIPES)) > 1 or _LONE_PIPE.search(quote)
    ):
        gaps = cells = columns = [end for end in _ends(_PIPE, quote) if 1 < end < len(quote)]
        is_row = len(cells) > 1
    elif "  " in quote or "\t" in quote or not quote.isascii():
        spans = [gap.span() for gap in _NARROW_GAP.finditer(quote)]
        gaps = [after for _, after in spans]
        columns = [after for before, after in spans if _divides(quote, before)]
        cells = _ends(_GAP, quote)
        is_row = len(set(columns).intersection(cells)) > 1
    heading = _HEADING.match(quote) if quote[0].isupper() else None
    return _Draft(
        quote,
        start,
        indent,
        gaps,
        cells,
        [place + indent for place in columns],
        is_row,
        bullet=_BULLET.match(quote) is not None,
        number=_NUMBER.match(quote) is not None,
        heading=heading.end() if heading else 0,
        starts_block=is_first,
        starts_item=is_first,
    )


def _ends(pattern: re.Pattern[str], quote: str) -> list[int]:
    return [found.end() for found in pattern.finditer(quote)]


def _divides(quote: str, gap: int) -> bool:
    """Whether a gap divides columns; a gap after a sentence, a label or a number does not."""
    return quote[gap - 1] not in ".!?:;" and not (
        _NUMBER.fullmatch(quote, 0, gap) or _BULLET.fullmatch(quote, 0, gap)
    )


def _judge(block: Sequence[_Draft]) -> list[Line]:
    """Finish the lines of a block: decide which are rows or headings, and which begin an item."""
    if not block:
        return []
    rows = [_is_aligned(block, i) for i in range(len(block))]
    for i, line in enumerate(block):
        line.is_row = line.is_row or rows[i]
        follows = block[i + 1].quote if i + 1 < len(block) else ""
        if not line.heading and _is_bare_heading(line, follows):
            line.heading = len(line.quote)
    is_listed = sum(line.number for line in block) > 1
    ended = [
        after.bullet
        or (after.number and is_listed)
        or after.heading > 0
        or before.heading == len(before.quote)
        or before.is_row
        or after.is_row
        for before, after in zip(block, block[1:], strict=False)
    ]
    hard = find_hard_breaks([line.quote for line in block], ended, [line.indent for line in block])
    begin = [block[0].starts_item, *hard]
    return [line.finish(starts_item=begins) for line, begins in zip(block, begin, strict=True)]


def _is_aligned(block: Sequence[_Draft], i: int) -> bool:
    """Whether a column of the line is within one character of a neighbouring line's column."""
    columns = block[i].columns
    if not columns:
        return False
    beside = {place for j in (i - 1, i + 1) if 0 <= j < len(block) for place in block[j].columns}
    return any(not beside.isdisjoint((place - 1, place, place + 1)) for place in columns)


def _is_bare_heading(line: _Draft, follows: str) -> bool:
    """Whether the line is a heading without a colon: a known one, or capitals above other text."""
    quote = line.quote
    if len(quote) > 48 or quote.count(" ") > 4 or not _BARE_HEADING.fullmatch(quote):
        return False
    if quote.isupper():
        return not follows.isupper() and (line.starts_block or len(quote) > 3)
    return line.starts_block and _HEADS.search(quote) is not None
