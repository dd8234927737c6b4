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
        start: its first character that is no white space.
        end: behind its last one.
        indent: characters before ``start``.
        cells: where cells begin behind a tab, a wide gap or a pipe.
        columns: those of them that divide columns, counted from where the line begins.
        is_row: whether it is a row of a table.
        bullet: whether it is sure to begin an item.
        number: whether it begins with what may be an item's number.
        heading: behind the heading that it begins with; ``start`` where there is none.
        starts_block: whether a blank line, or nothing, comes before it.
        starts_item: whether it does not go on from the line before it.
    """

    start: int
    end: int
    indent: int
    cells: tuple[int, ...]
    columns: tuple[int, ...]
    is_row: bool
    bullet: bool
    number: bool
    heading: int
    starts_block: bool
    starts_item: bool


def read_lines(text: str) -> Iterator[Line]:
    """The lines of a note that are not blank, in order."""
    block: list[Line] = []
    end = 0
    for match in _LINE.finditer(text):
        start = match.start()
        line_end = _LINE_END.search(text, end, start)
        is_first = not block or (
            line_end is not None and _LINE_END.search(text, line_end.end(), start) is not None
        )
        if is_first:
            yield from _judge(text, block)
            block = []
        elif len(block) == BLOCK:
            *judged, last = _judge(text, block)
            yield from judged
            block = [last]
        indent = start - max(
            end, *(found.end() for found in _LINE_END.finditer(text, end, start)), 0
        )
        end = start + len(match[0].rstrip())
        block.append(_read_line(text, start, end, indent=indent, is_first=is_first))
    yield from _judge(text, block)


def _read_line(text: str, start: int, end: int, *, indent: int, is_first: bool) -> Line:
    pipes = [found.end() for found in _PIPE.finditer(text, start, end)]
    if len(pipes) > 1 or _LONE_PIPE.search(text, start, end):
        cells = columns = [place for place in pipes if start + 1 < place < end]
        is_row = len(pipes) > 1
    else:
        gaps = [gap.span() for gap in _GAP.finditer(text, start, end)]
        columns = [after for before, after in gaps if _divides(text, start, before)]
        is_row = len(columns) > 1
        if is_row:
            gaps = [gap.span() for gap in _NARROW_GAP.finditer(text, start, end)]
        cells = [after for _, after in gaps]
    heading = _HEADING.match(text, start, end) if text[start].isupper() else None
    return Line(
        start=start,
        end=end,
        indent=indent,
        cells=tuple(cells),
        columns=tuple(place - start + indent for place in columns),
        is_row=is_row,
        bullet=_BULLET.match(text, start) is not None,
        number=_NUMBER.match(text, start) is not None,
        heading=heading.end() if heading else start,
        starts_block=is_first,
        starts_item=is_first,
    )


def _divides(text: str, start: int, gap: int) -> bool:
    """Whether a gap divides columns: none stands behind a sentence, a label or an item's number."""
    return text[gap - 1] not in ".!?:;" and not (
        _NUMBER.fullmatch(text, start, gap) or _BULLET.fullmatch(text, start, gap)
    )


def _judge(text: str, block: Sequence[Line]) -> list[Line]:
    """The lines of a block once it is known which are rows, headings and beginnings of items."""
    if not block:
        return []
    quotes = [text[line.start : line.end] for line in block]
    lines = [
        replace(line, is_row=True)
        if _is_aligned(line, [*block[max(0, i - 1) : i], *block[i + 1 : i + 2]])
        else line
        for i, line in enumerate(block)
    ]
    lines = [
        replace(line, heading=line.end) if _is_bare_heading(line, quote, follows) else line
        for line, quote, follows in zip(lines, quotes, [*quotes[1:], ""], strict=True)
    ]
    is_listed = sum(line.number for line in lines) > 1
    ended = [
        after.bullet
        or (after.number and is_listed)
        or after.heading > after.start
        or before.heading == before.end
        or before.is_row
        or after.is_row
        for before, after in zip(lines, lines[1:], strict=False)
    ]
    hard = find_hard_breaks(quotes, ended, [line.indent for line in lines])
    return [
        lines[0],
        *(
            replace(line, starts_item=is_hard)
            for line, is_hard in zip(lines[1:], hard, strict=True)
        ),
    ]


def _is_aligned(line: Line, beside: Sequence[Line]) -> bool:
    """Whether it has a column where a line beside it has one."""
    return any(
        abs(place - other) < 2
        for near in beside
        for other in near.columns
        for place in line.columns
    )


def _is_bare_heading(line: Line, quote: str, follows: str) -> bool:
    """Whether the line is a heading without a colon: a known one, or capitals above other text."""
    if line.heading > line.start or len(quote.split()) > 5 or not _BARE_HEADING.fullmatch(quote):
        return False
    if quote.isupper():
        return not follows.isupper() and (line.starts_block or len(quote) > 3)
    return line.starts_block and _HEADS.search(quote) is not None
