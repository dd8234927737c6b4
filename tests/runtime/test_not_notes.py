"""Text files that are no notes, and notes that look a little like them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from emlb_runtime.formats.not_notes import (
    BRAT,
    CONLL,
    CONLL_U,
    I2B2,
    SHARE,
    describe_table,
    recognise,
)
from emlb_runtime.formats.notes import read_note
from emlb_runtime.records import ErrorRecord

MARKER = "Zebedee"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("T1\tDrug 5 12\taspirin\nR1\tADE Arg1:T2 Arg2:T1\n", BRAT),
        ("\ufeffT12\tFinding 31 36;47 56\tlower pain\r\n", BRAT),
        ('c="chest pain" 1:2 1:3||t="problem"\n', I2B2),
        ('c="aspirin" 2:1 2:1||r="TrAP"||c="chest pain" 1:2 1:3\n', I2B2),
        ('c="pain" 1:1 1:1||t="problem"||a="present"\n', I2B2),
        ("a.txt||Disease_Disorder||C0015967||4||9\n", SHARE),
        ("00098-016139.text|10-14|C0030193|yes|0-2|patient|null\n", SHARE),
        ("He O\nhas O\nchest B-problem\npain I-problem\n. O\n\n", CONLL),
        ("-DOCSTART- -X- O O\n\nRash NN B-NP B-ADE\nafter IN B-PP O\niron NN B-NP B-Drug\n", CONLL),
        ("# a comment\r\nfever\tS-X\r\nand\tO\r\nchills\tU-X\r\n", CONLL),
        (
            "# sent_id = 1\n" + "".join(f"{n}\tw\tw\tX\t_\t_\t0\troot\t_\t_\n" for n in (1, 2, 3)),
            CONLL_U,
        ),
    ],
)
def test_annotation_files(text: str, found: object) -> None:
    assert recognise(text) is found
    assert recognise("x" * 9_000 + "\n" + text) is None


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("note_id,text\n1,Rash\n", "note_id, text"),
        ('"id";"report"\r\n1;"Rash; fever"\r\n', "id, report"),
        ("ROW_ID\tSUBJECT_ID\tTEXT\n1\t2\tRash\n", "ROW_ID, SUBJECT_ID, TEXT"),
        ("doc_id|note_text", "doc_id, note_text"),
        (",description,keywords,transcription,id\n0,a,b,Rash,1\n", ", description, keywords"),
    ],
)
def test_tables(text: str, columns: str) -> None:
    found = recognise(text)
    assert found is not None
    assert f"its columns are {columns}" in found.sentence
    assert "--id-column" in found.sentence


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "Rash, fever, cough\nNo chills, no sweats\n",
        "Name, Date, Report\nJohn was seen.\n",
        "Note, text\nRash.\n",
        "ID, Text\nSeen today.\n",
        "Allergies | Reaction\npenicillin | rash\n",
        "Test\tResult\tUnits\nNa\t132\tmmol/l\n",
        "Sodium; potassium; creatinine\n132; 5.6; 1.1\n",
        "id 5 text\nnone\n",
        "1,Rash after penicillin\n2,No fever\n",
        "T1 lesion, stable.\nT2\tDrug\n",
        "T1\tweighted images\n",
        "Blood type O\nRh factor positive O\n",
        "Type O\nType O\nType O\n",
        "Group B-negative\nno transfusion\nGroup B-negative\n",
        "He has a fever.\nVitamin B-complex\nHepatitis B-virus\n",
        "1\t2\t3\n4\t5\t6\n7\t8\t9\n",
        "c=12 mm, t=4\n",
        "a|b|c|d\n",
    ],
)
def test_notes_that_look_a_little_like_them(text: str) -> None:
    assert recognise(text) is None


def test_no_note_of_the_corpora_is_taken_for_another_file(corpora: Path) -> None:
    notes = [
        *(corpora / "mtsamples").rglob("*.txt"),
        *(corpora / "aci_bench").rglob("*.txt"),
        *(corpora / "notes_real").rglob("*.txt"),
        *(corpora / "notes_invented").rglob("*.txt"),
        *(corpora / "maccrobat2020").rglob("*.txt"),
    ]
    notes = [path for path in notes if not path.name.startswith("README")]
    if not notes:
        pytest.skip("none of these corpora")
    assert [path for path in notes if recognise(path.read_text("utf-8", "replace"))] == []


def test_a_first_row_is_never_shown() -> None:
    """Without a header the first line is a row, and every cell could be text of a note."""
    for names in ([MARKER, "rash"], ["17", MARKER], ["", MARKER], [f"{MARKER} was seen today, id"]):
        found = describe_table("a table", names)
        assert MARKER not in found.sentence
        assert f"it has {len(names)} columns, and its first line may be no header" in found.sentence
    assert (
        "and 3 more"
        in describe_table("JSON lines", [f"k{n}" for n in range(15)], members=True).sentence
    )
    odd = describe_table("JSON lines", ["id", f"{MARKER} 1, 2"], members=True)
    assert odd.sentence.startswith("it is JSON lines, not a note: its columns are id and 1 more; ")
    spaced = describe_table("a table", ["Patient ID", f"{MARKER} was", "Note Text"])
    assert "its columns are Patient ID, Note Text and 1 more; " in spaced.sentence


@pytest.mark.parametrize(
    "piece", ["a ", "a\t", "a|", 'c="', "a,", "T1\tX 1 2;", "a.txt|1-2,", "a O\n"]
)
def test_hostile_starts_take_no_time(piece: str) -> None:
    started = time.process_time()
    for length in (8_000, 1_000_000):
        recognise(piece * (length // len(piece)))
    assert time.process_time() - started < 1


def test_a_note_that_is_none_has_an_error_record(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text(f"{MARKER} B-Name\nhas O\npain B-X\n", encoding="utf-8")
    record = read_note(path, name="train.txt")
    assert isinstance(record, ErrorRecord)
    assert record.error.startswith("it is a CoNLL file (a token with its label on each line), not")
    assert MARKER not in record.error
