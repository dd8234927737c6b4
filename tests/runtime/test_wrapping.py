"""Which line breaks end something, and which only fit text to a width."""

from __future__ import annotations

import textwrap
from itertools import pairwise

import numpy as np
import pytest

from tests.runtime.test_layout import PROSE, grouped, layout_of, structure_of


def parts(text: str) -> list[str]:
    """The runs of words that mentions may lie in; drawn lines and pipes are left out."""
    words, layout = layout_of(text)
    bounds = [0, *np.flatnonzero(layout.apart[1:]) + 1, len(words)]
    runs = (
        " ".join(words[at] for at in range(start, end) if not layout.ruled[at])
        for start, end in pairwise(bounds)
    )
    return [run for run in runs if run]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_narrow_list_is_one_item_a_line(end: str) -> None:
    drugs = ["Metoprolol", "Lisinopril", "Simvastatin", "Omeprazole", "Gabapentin"]
    assert parts(end.join(["Current medications", *drugs])) == ["Current medications", *drugs]


@pytest.mark.parametrize(
    "items",
    [
        ["warfarin", "digoxin", "furosemide", "spironolactone"],
        ["Type 2 diabetes", "Essential hypertension", "Chronic kidney disease"],
        ["PEANUTS", "SHELLFISH", "PENICILLIN"],
        ["shortness of breath", "night sweats", "weight loss", "swollen ankles"],
        ["apixaban 5 mg twice daily", "bisoprolol 2.5 mg at night", "ramipril 10 mg at night"],
        ["levothyroxine 50 mcg", "amlodipine 5 mg", "atorvastatin 20 mg", "zopiclone"],
        [
            "Chronic obstructive pulmonary disease on home oxygen",
            "Benign prostatic hyperplasia since 2014",
            "Paroxysmal atrial fibrillation, anticoagulated",
        ],
        ["Appendicectomy, 1988.", "Left hip replacement, 2015.", "Cataract surgery, 2019."],
        # Addresses, and lines of a card.
        ["Ward 4", "St Elsewhere Hospital", "12 Mill Lane", "Ambridge"],
        ["insulin glargine", "metformin", "empagliflozin"],
    ],
)
@pytest.mark.parametrize("lead", ["", "  ", "\t"])
def test_items_are_apart(items: list[str], lead: str) -> None:
    found = parts("\n".join(lead + item for item in items))
    assert [run.replace(" ", "") for run in found] == [item.replace(" ", "") for item in items]


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (
            "Drug | Dose | Freq\nmetoprolol tartrate | 25 mg | BID\nlisinopril | 10 mg | daily",
            ["Drug", "Dose", "Freq", "metoprolol tartrate", "25 mg", "BID"]
            + ["lisinopril", "10 mg", "daily"],
        ),
        (
            "| Potassium | 5.9 | H |\n|---|---|---|\n| Urea | 14 | H |",
            ["Potassium", "5 . 9", "H", "Urea", "14", "H"],
        ),
        ("Temp 38.1 | HR 120 | RR 22", ["Temp 38 . 1", "HR 120", "RR 22"]),
        ("Hb|9.1|low\nWBC|14|high", ["Hb", "9 . 1", "low", "WBC", "14", "high"]),
        ("Sodium\t131\tL\nUrea\t9.7\tH", ["Sodium", "131", "L", "Urea", "9 . 7", "H"]),
        # Two spaces are a column where they stand under each other.
        (
            "codeine  30 mg\nnaproxen  500 mg\nsenna     15 mg",
            ["codeine", "30 mg", "naproxen", "500 mg", "senna", "15 mg"],
        ),
        (
            "Right eye        Left eye\n20/40            20/200",
            ["Right eye", "Left eye", "20 / 40", "20 / 200"],
        ),
        # Nested items, and an item that goes on below.
        (
            "1. Heart failure\n   - furosemide, more if the\n     legs swell\n2. Gout",
            ["1 . Heart failure", "- furosemide , more if the legs swell", "2 . Gout"],
        ),
        (
            "naproxen after meals for pain in the\n   left knee\nomeprazole while on it",
            ["naproxen after meals for pain in the left knee", "omeprazole while on it"],
        ),
        ("[x] asthma\n[ ] gout", ["[ x ] asthma", "[ ] gout"]),
        ("# Sepsis\n# Delirium", ["# Sepsis", "# Delirium"]),
        ("the lactate fell from 4.1 ->\n2.0 -> 1.1 by the morning of\nday 2",
         ["the lactate fell from 4 . 1 - > 2 . 0 - > 1 . 1 by the morning of day 2"]),
    ],
)  # fmt: skip
def test_rows_cells_and_items(text: str, runs: list[str]) -> None:
    assert parts(text) == runs


TEXTS = (
    "The patient is a 64-year-old man who was brought in after a fall at home and who had been"
    " unwell for three days with fever, cough and pain in the right upper quadrant of the abdomen.",
    "Echo showed severe aortic stenosis with a mean gradient of 48 mm Hg and an ejection fraction"
    " of 35 to 40 percent, and he was referred to the heart team for a valve and for a stent.",
    "SHE WAS FOUND TO HAVE A DEEP VEIN THROMBOSIS OF THE LEFT LEG AND A PULMONARY EMBOLISM WAS"
    " RULED OUT BY CT, SO THAT SHE COULD BE TREATED AT HOME WITH RIVAROXABAN 15 MG TWICE DAILY.",
)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("width", [36, 48, 60, 72, 80, 100])
def test_prose_is_whole_at_any_width(text: str, width: int) -> None:
    assert len(parts("\n".join(textwrap.wrap(text, width)))) == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("warfarin\ndigoxin", 2),
        ("ramipril 2.5\nmg", 1),
        # An item in prose that goes on below, and the next one at its margin.
        ("naproxen after meals for pain in the\n   left knee and the right hip\nsenna at 8", 2),
        ("Carotid endarterectomy (right side\nMay 2013), nothing since", 1),
        # Room was left for the next word, which nothing binds to the one before.
        ("He had a rash with the codeine\nECG normal and no pain at the exit site", 2),
        ("He had a rash with the codeine that he was given on the\nSurgical ward and at home", 1),
    ],
)  # fmt: skip
def test_two_or_three_lines(text: str, count: int) -> None:
    assert len(parts(text)) == count


def test_short_sentences_of_a_list_are_items() -> None:
    words, found = structure_of("NO FEVER.\nNO COUGH.\nTHE REST IS WELL.")
    assert grouped(words, found.item) == ["NO FEVER .", "NO COUGH .", "THE REST IS WELL ."]


def test_headings_without_a_colon() -> None:
    words, found = structure_of(
        "EYES\nCataract on the left.\n\nFamily history\nGout.\n\nWalks the dog\nSwims."
    )
    headings = [word for word, there in zip(words, found.in_heading, strict=True) if there]
    assert headings == ["EYES", "Family", "history"]
    assert len(grouped(words, found.section)) == 2


def test_a_paragraph_stays_one_item_over_its_sentences() -> None:
    text = f"{TEXTS[0]} {TEXTS[1]} {TEXTS[0]}"
    for width in range(48, 100, 7):
        words, found = structure_of("\n".join(textwrap.wrap(text, width)))
        assert len(grouped(words, found.item)) == 1
        assert len(grouped(words, found.sentence)) == 3


def test_prose_then_a_list_in_one_block() -> None:
    drugs = ["Ibuprofen", "Tramadol", "Pregabalin"]
    text = "\n".join([*textwrap.wrap(TEXTS[0], 60), *drugs, *textwrap.wrap(TEXTS[1], 60)])
    found = parts(text)
    assert len(found) == 5
    assert found[1:4] == drugs


def test_changed_lines_of_wrapped_text_stay_whole() -> None:
    """As de-identification leaves them: names of another length in lines that were wrapped."""
    lines = textwrap.wrap(" ".join(PROSE * 3), 66)
    lines[2] = lines[2].replace("clinic", "[**Hospital of a long name**]")
    lines[4] = lines[4][:-9]
    assert len(parts("\n".join(lines))) == 1


def test_a_number_after_a_shortened_line_of_a_paragraph() -> None:
    lines = textwrap.wrap(" ".join(PROSE * 2), 66)
    lines[2:2] = [
        "and over the summer this kind old woman has lost",
        "38 pounds, which she was not told of by her family",
    ]
    assert len(parts("\n".join(lines))) == 1
    # Two such lines alone are no paragraph.
    alone = [*lines[2:4], "and then over the winter she has had it all again, more"]
    assert len(parts("\n".join(alone))) == 2
