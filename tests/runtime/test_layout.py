"""Where a note's layout lets no mention go on."""

from __future__ import annotations

import re
import textwrap
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb_runtime.text import lines as module
from emlb_runtime.text.layout import Layout, Structure, read_layout, read_structure

WORD = re.compile(r"[^\W_]+|[^\w\s]|_")


def layout_of(text: str) -> tuple[list[str], Layout]:
    words = list(WORD.finditer(text))
    starts = np.array([word.start() for word in words], dtype=np.int64)
    return [word[0] for word in words], read_layout(text, starts)


def parted(text: str) -> list[str]:
    """The runs of words that mentions may lie in, but for drawn lines."""
    words, layout = layout_of(text)
    bounds = [0, *np.flatnonzero(layout.apart[1:]) + 1, len(words)]
    return [" ".join(words[start:end]) for start, end in pairwise(bounds)]


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("", [""]),
        ("pain in the left\nlower leg", ["pain in the left lower leg"]),
        ("pain in the left\r\n    lower leg", ["pain in the left lower leg"]),
        ("rash\n\nfever", ["rash", "fever"]),
        ("rash\r\n \t\r\nfever", ["rash", "fever"]),
        # A line that had room for the next word was ended on purpose.
        ("Stroke\nBleeding of any kind\nSepsis", ["Stroke", "Bleeding of any kind", "Sepsis"]),
        # A bullet begins an item; a number only beside another.
        ("given: aspirin\n- codeine", ["given : aspirin", "- codeine"]),
        ("lasted for 3\n-4 days", ["lasted for 3 - 4 days"]),
        ("• rash after codeine\n•fever", ["• rash after codeine", "• fever"]),
        ("she has diabetes type\n2. He has", ["she has diabetes type 2 . He has"]),
        ("1. due to vancomycin\n2. COPD", ["1 . due to vancomycin", "2 . COPD"]),
        ("1.due to vancomycin\n2.COPD", ["1 . due to vancomycin", "2 . COPD"]),
        ("(1) due to vancomycin\n(2) COPD", ["( 1 ) due to vancomycin", "( 2 ) COPD"]),
        ("a) due to vancomycin\nb) COPD", ["a ) due to vancomycin", "b ) COPD"]),
        ("it rose to 39.5\n39.4 and fell", ["it rose to 39 . 5 39 . 4 and fell"]),
        # Headings.
        ("good cap refill\nNeuro: alert", ["good cap refill", "Neuro : alert"]),
        ("at 07:40 she had\nat 08:15: rash", ["at 07 : 40 she had at 08 : 15 : rash"]),
        # Columns.
        ("Urea\t9.7\tH", ["Urea", "9 . 7", "H"]),
        ("5 mg   by mouth  daily", ["5 mg", "by mouth daily"]),
        ("continue\n 2   apixaban\n 3   codeine", ["continue", "2", "apixaban", "3", "codeine"]),
    ],
)
def test_where_mentions_part(text: str, runs: list[str]) -> None:
    assert parted(text) == runs


PROSE = (
    "she was seen in clinic for a review of her asthma and has had no fever since the last visit;"
    " chest clear, no wheeze, and the left lower leg is swollen but not tender to touch over the"
    " calf, with pulses that are felt on both sides of it"
).split()


@given(
    st.lists(st.sampled_from(PROSE), min_size=1, max_size=200),
    st.integers(28, 120),
    st.sampled_from(["", "   "]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_wrapped_text_is_one(words: list[str], width: int, indent: str, end: str) -> None:
    words[0:0] = PROSE[:9]  # a few words in no order are no text
    text = end.join(textwrap.wrap(" ".join(words), width, subsequent_indent=indent))
    assert not layout_of(text)[1].apart[1:].any()


def test_drawn_lines() -> None:
    words, layout = layout_of("====\nplan: -- see ___ -----\n* a ****, +++++ | ???")
    assert "".join(word for word, ruled in zip(words, layout.ruled, strict=True) if ruled) == (
        "====-----****|"
    )


def test_brackets() -> None:
    words, layout = layout_of("a (b [c]) } d{")
    assert words == ["a", "(", "b", "[", "c", "]", ")", "}", "d", "{"]
    assert layout.brackets.tolist() == [0, 1, 0, 1, 0, -1, -1, -1, 0, 1]
    glued = read_layout("x ((y) z", np.array([0, 2, 7]))
    assert glued.brackets.tolist() == [0, 1, 0]


@given(st.text(st.sampled_from(" \t\n\r\x0b\x1c\x85\u2028aB1.:)-=•*"), max_size=300))
@settings(deadline=None, max_examples=300)
def test_any_text(text: str) -> None:
    words, layout = layout_of(text)
    for values in (layout.apart, layout.ruled, layout.brackets):
        assert values.shape == (len(words),)
    # A blank line parts its words; those with nothing between them are never parted.
    places = [word.span() for word in WORD.finditer(text)]
    for index, ((_, end), (start, _)) in enumerate(pairwise(places), start=1):
        gap = text[end:start]
        if gap == "":
            assert not layout.apart[index]
        if "\n\n" in gap:
            assert layout.apart[index]


# None of its pieces has a number, so that no number of one glues to that of the next.
PIECES = [
    *("aspirin 81 mg", "Chest pain.", "No rash", "MEDICATIONS", "Plan:", "- codeine", "2. gout"),
    *(
        "a\tb\tc",
        "K | 3.1 | low",
        "|x|",
        "of the",
        "Na     140     L",
        "   (left",
        "leg)",
        "====",
        "",
    ),
    *(
        "Dr. Wu saw him.",
        "→ clinic",
        "[x] asthma   [ ] gout",
        "\x0c",
        "and e.g. IV",
        "HR 80 | RR 12",
    ),
]


def structure_of(text: str) -> tuple[list[str], Structure]:
    words = list(WORD.finditer(text))
    starts = np.array([word.start() for word in words], dtype=np.int64)
    return [word[0] for word in words], read_structure(text, starts)


def grouped(words: list[str], ids: np.ndarray[Any, np.dtype[np.int64]]) -> list[str]:
    """The words of each number."""
    return [
        " ".join(word for word, at in zip(words, ids, strict=True) if at == each)
        for each in dict.fromkeys(ids.tolist())
    ]


@given(st.lists(st.sampled_from(PIECES), max_size=25))
@settings(max_examples=300)
def test_what_words_stand_in(lines: list[str]) -> None:
    text = "\n".join(lines)
    words, found = structure_of(text)
    nested = (found.section, found.line), (found.block, found.line), (found.block, found.item)
    for outer, inner in (*nested, (found.item, found.cell), (found.item, found.sentence)):
        for ids in (outer, inner):
            assert ids.shape == (len(words),)
            assert (np.diff(ids) >= 0).all()
        # What is one inside is one outside.
        assert (np.diff(outer)[np.diff(inner) == 0] == 0).all() or outer is found.section
    for ids in (found.line, found.block, found.item, found.cell, found.sentence):
        assert (ids > 0).all()
    assert found.in_row.dtype == found.in_heading.dtype == bool
    assert (found.column[~found.in_row] == 0).all() and (found.column >= 0).all()
    for row in np.unique(found.item[found.in_row]):
        at = found.item == row
        # Rows are lines, and so no cell of a table runs over a line's end.
        assert len(set(found.line[at])) == 1
        assert found.in_row[at].all()
        assert (np.diff(found.column[at]) == np.diff(found.cell[at])).all()
    line_changes = np.diff(found.line) != 0
    words_of_text = list(WORD.finditer(text))
    broken = ["\n" in text[a.end() : b.start()] or "\x0c" in text[a.end() : b.start()]
              for a, b in pairwise(words_of_text)]  # fmt: skip
    assert line_changes.tolist() == broken
    layout = layout_of(text)[1]
    assert layout.apart[1:][np.diff(found.cell) != 0].all()
    assert not layout.apart[1:][(np.diff(found.cell) == 0) & ~line_changes].any()


@given(st.lists(st.sampled_from(PIECES), max_size=20))
def test_line_ends_of_windows_are_those_of_unix(lines: list[str]) -> None:
    ours, theirs = (structure_of(end.join(lines)) for end in ("\n", "\r\n"))
    assert ours[0] == theirs[0]
    for name in Structure.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(ours[1], name), getattr(theirs[1], name), name)


def test_a_note_with_sections_items_and_a_table() -> None:
    words, found = structure_of(
        "HISTORY\n"
        "He fell. Dr. Wu saw him and thought of\n"
        "a broken hip.\n"
        "\n"
        "Medications:\n"
        "- aspirin, started in May\n"
        "  after a stroke\n"
        "- codeine\n"
        "\n"
        "Test     Value   Flag\n"
        "Sodium   128     L\n"
    )
    assert grouped(words, found.section) == [
        "HISTORY He fell . Dr . Wu saw him and thought of a broken hip .",
        "Medications : - aspirin , started in May after a stroke - codeine Test Value Flag"
        " Sodium 128 L",
    ]
    assert grouped(words, found.item) == [
        "HISTORY",
        "He fell . Dr . Wu saw him and thought of a broken hip .",
        "Medications :",
        "- aspirin , started in May after a stroke",
        "- codeine",
        "Test Value Flag",
        "Sodium 128 L",
    ]
    assert grouped(words, found.sentence)[:3] == [
        "HISTORY",
        "He fell .",
        "Dr . Wu saw him and thought of a broken hip .",
    ]
    headings = [word for word, there in zip(words, found.in_heading, strict=True) if there]
    assert headings == ["HISTORY", "Medications", ":"]
    in_table = [word for word, there in zip(words, found.in_row, strict=True) if there]
    assert in_table == ["Test", "Value", "Flag", "Sodium", "128", "L"]
    assert found.column[found.in_row].tolist() == [0, 1, 2, 0, 1, 2]
    assert len(grouped(words, found.block)) == 3
    part = found.part(2, 9)
    for name in Structure.__dataclass_fields__:
        assert getattr(part, name).tolist() == getattr(found, name)[2:9].tolist()
        assert len(getattr(Structure.plain(4), name)) == 4


def test_long_blocks_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(["- rash", "a pain, which was", "worse"] * 10)
    whole = parted(text)
    assert len(whole) == 20
    monkeypatch.setattr(module, "BLOCK", 6)
    assert parted(text) == whole


def test_a_part_is_that_of_the_whole() -> None:
    words, layout = layout_of("a (b)\n\nc ==== d")
    part = layout.part(2, 6)
    assert part.n_words == 4
    assert part.apart.tolist() == layout.apart[2:6].tolist()
    assert part.ruled.tolist() == layout.ruled[2:6].tolist()
    assert part.brackets.tolist() == layout.brackets[2:6].tolist()
    assert Layout.plain(len(words)).n_words == len(words)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    ["\n", "a\n", " ", "   x", "(\t", "A:", "=", "1.\n", "A" * 39, "|", "a. ", "|" * 9999 + "\n"],
)
def test_cost_grows_with_length_alone(line: str) -> None:
    """A million characters of whatever a pattern might choke on, in seconds."""
    text = line * (1_000_000 // len(line))
    read_layout(text, np.arange(0, len(text), 50, dtype=np.int64))
