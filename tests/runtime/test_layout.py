"""Where a note's layout lets no mention go on."""

from __future__ import annotations

import re
import textwrap
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb_runtime import layout as module
from emlb_runtime.layout import Layout, read_layout

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
        ("Stroke\nBleeding of any kind\nSepsis", ["Stroke", "Bleeding of any kind Sepsis"]),
        # A bullet begins an item; a number only beside another.
        ("given: aspirin\n- codeine", ["given : aspirin", "- codeine"]),
        ("lasted for 3\n-4 days", ["lasted for 3 - 4 days"]),
        ("• rash after codeine\n•fever", ["• rash after codeine", "• fever"]),
        ("she has diabetes type\n2. He has", ["she has diabetes type 2 . He has"]),
        ("1. due to vancomycin\n2. COPD", ["1 . due to vancomycin", "2 . COPD"]),
        ("1.due to vancomycin\n2.COPD", ["1 . due to vancomycin", "2 . COPD"]),
        ("(1) due to vancomycin\n(2) COPD", ["( 1 ) due to vancomycin", "( 2 ) COPD"]),
        ("a) due to vancomycin\nb) COPD", ["a ) due to vancomycin", "b ) COPD"]),
        ("reached 39.5\n39.4 and fell", ["reached 39 . 5 39 . 4 and fell"]),
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


@given(
    st.lists(st.from_regex(r"[a-z]{1,12}", fullmatch=True), min_size=1, max_size=200),
    st.integers(15, 120),
    st.sampled_from(["", "   "]),
)
@settings(deadline=None)
def test_wrapped_text_is_one(words: list[str], width: int, indent: str) -> None:
    text = "\n".join(textwrap.wrap(" ".join(words), width, subsequent_indent=indent))
    assert not layout_of(text)[1].apart[1:].any()


def test_drawn_lines() -> None:
    words, layout = layout_of("====\nplan: -- see ___ -----\n* a ****, +++++ ???")
    assert "".join(word for word, ruled in zip(words, layout.ruled, strict=True) if ruled) == (
        "====-----****"
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
@pytest.mark.parametrize("line", ["\n", "a\n", " ", "   x", "(\t", "A:", "=", "1.\n", "A" * 39])
def test_cost_grows_with_length_alone(line: str) -> None:
    """A million characters of whatever a pattern might choke on, in seconds."""
    text = line * (1_000_000 // len(line))
    read_layout(text, np.arange(0, len(text), 50, dtype=np.int64))
