"""Draw a short note with its mentions and relations as an SVG file.

    python scripts/draw_note.py note.txt docs/assets/example.svg

The picture of the README is made from ``docs/assets/example.txt`` by the bundled model: what it
shows is what the model finds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from html import escape
from pathlib import Path

from emlb_runtime import Document, Entity, Extractor

CELL, ROW, LEFT, TOP = 8.4, 92, 16, 72
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
COLOURS = {
    "Drug": "#bfdbfe",
    "Disorder": "#fecaca",
    "Dosage": "#ddd6fe",
    "Frequency": "#ddd6fe",
    "Route": "#ddd6fe",
    "Test": "#bbf7d0",
    "Value": "#d9f99d",
    "Temporal": "#fde68a",
    "Procedure": "#a5f3fc",
    "Anatomy": "#fbcfe8",
}
OTHER = "#e5e7eb"


def main() -> None:
    """Draw the note that the command line names."""
    parser = argparse.ArgumentParser(description="Draw a note with what the model finds.")
    parser.add_argument("note", type=Path)
    parser.add_argument("svg", type=Path)
    options = parser.parse_args()
    with Extractor.load() as extractor:
        document = extractor.extract(options.note.read_text(encoding="utf-8").rstrip("\n"))
    options.svg.write_text(draw(document), encoding="utf-8")


def draw(document: Document) -> str:
    """The picture of a document whose note has short lines."""
    lines = document.note.text.split("\n")
    width = 2 * LEFT + CELL * max(map(len, lines))
    height = TOP + ROW * (len(lines) - 1) + 28
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="{FONT}">',
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#ffffff"/>',
        *(mark for entity in document.entities for mark in draw_mention(document, entity)),
        *draw_lines(lines),
        *draw_relations(document),
        "</svg>\n",
    ]
    return "\n".join(parts)


def draw_lines(lines: list[str]) -> Iterator[str]:
    """The text of the note; every character has a place of its own."""
    for number, line in enumerate(lines):
        places = " ".join(f"{LEFT + CELL * column:.1f}" for column in range(len(line)))
        yield (
            f'<text x="{places}" y="{TOP + ROW * number}" font-size="14" fill="#111827" '
            f'xml:space="preserve">{escape(line)}</text>'
        )


def draw_mention(document: Document, entity: Entity) -> Iterator[str]:
    """A box under the words of a mention, and its type below."""
    x, y = place(document, entity.start)
    width = CELL * (entity.end - entity.start)
    colour = COLOURS.get(entity.type, OTHER)
    yield (
        f'<rect x="{x - 1:.1f}" y="{y - 15}" width="{width + 2:.1f}" height="20" rx="4" '
        f'fill="{colour}"/>'
    )
    yield (
        f'<text x="{x + width / 2:.1f}" y="{y + 16}" font-size="9" fill="#4b5563" '
        f'text-anchor="middle">{escape(entity.type)}</text>'
    )


def draw_relations(document: Document) -> Iterator[str]:
    """An arc over the line from head to tail, with the relation's type."""
    for triple in document.triples():
        (x1, y1), (x2, y2) = (
            place(document, (mention.start + mention.end) // 2)
            for mention in (triple.head, triple.tail)
        )
        if y1 != y2:
            continue  # a picture of short lines shows the relations within them
        lift = min(56, 6 + abs(x2 - x1) / 3.6)
        top = y1 - 16
        yield (
            f'<path d="M{x1:.1f} {top} C{x1:.1f} {top - lift:.1f} {x2:.1f} {top - lift:.1f} '
            f'{x2:.1f} {top}" fill="none" stroke="#6b7280" stroke-width="1.2"/>'
            f'<path d="M{x2 - 3:.1f} {top - 5} L{x2:.1f} {top} L{x2 + 3:.1f} {top - 5}" '
            f'fill="none" stroke="#6b7280" stroke-width="1.2"/>'
            f'<text x="{(x1 + x2) / 2:.1f}" y="{top - lift * 0.75 - 2:.1f}" font-size="9" '
            f'fill="#374151" stroke="#ffffff" stroke-width="3" paint-order="stroke" '
            f'text-anchor="middle">{escape(triple.relation.type)}</text>'
        )


def place(document: Document, offset: int) -> tuple[float, int]:
    """Where a character stands in the picture."""
    before = document.note.text[:offset]
    column = offset - (before.rfind("\n") + 1)
    return LEFT + CELL * column, TOP + ROW * before.count("\n")


if __name__ == "__main__":
    main()
