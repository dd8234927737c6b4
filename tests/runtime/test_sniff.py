"""Files that are not plain text are recognised by their first bytes; notes never are."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.formats.sniff import (
    CDA,
    HL7,
    HTML,
    JSON,
    RTF,
    XML,
    FileFormat,
    count_tags,
    guess_utf16,
    name_markup,
    sniff,
)

PLAIN = (
    "Patient denies chest pain.\n",
    "<NAME> was admitted on <DATE>. <b for now\n",
    "<3 mm nodule in the left lobe; > 2 cm node.\n",
    "[**2101-3-4**] Ms. [**Known lastname**] is doing well.\n",
    "{template} HPI: cough\n",
    "{\n free text in braces }\n",
    "MSH is the abbreviation of melanocyte-stimulating hormone.\n",
    "PK 5 mg, BZh unit\n".replace("PK", "pk"),
    "| Test | Value |\n|---|---|\n| Na | 140 |\n",
    "id,text of the note with a comma\n",
    "\ufeffBOM, then words.\n",
    "%PDF was sent to the ward\n",
    "BZh9 is a code\n",
    "PAR1 antagonist vorapaxar held.\n",
    "ARROW1 trial: placebo arm\n",
    "x" * 255 + " mustard plaster\n",
    "Temp <38, HR >100, BP <90/60 <br",
    "<a> lobe: clear, <b> lobe: nodule, <p 3 cm\n",
    "",
    "   \n\n",
)


@pytest.mark.parametrize("text", PLAIN)
def test_notes_are_plain_text(text: str) -> None:
    assert sniff(text.encode("utf-8")) is None
    assert sniff(text.encode("utf-16"), encoding="utf-16") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"{\rtf1\ansi Hello}", RTF),
        ("\n" + r"{\rtf1 Hello}", RTF),
        ("<!DOCTYPE html>\n<html><body>x</body></html>", HTML),
        ("<html><p>x</p></html>", HTML),
        ("<HTML lang='en'>x", HTML),
        ('<?xml version="1.0"?>\n<!-- page --><html xmlns="x"><p>x</p></html>', HTML),
        ("<p>Denies <b>pain</b>.</p>", HTML),
        ("<div class='note'>Cough<br/>Fever</div>", HTML),
        ('<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>', CDA),
        ('<!-- c --><v3:ClinicalDocument xmlns:v3="urn:hl7-org:v3"></v3:ClinicalDocument>', CDA),
        ('<?xml version="1.0"?>\n<data></data>', XML),
        ("<Bundle xmlns='http://hl7.org/fhir'><id value='1'/><x></x></Bundle>\n", XML),
        ("MSH|^~\\&|LAB|H|E|H|2024||ORU^R01|1|P|2.5\rOBX|1\r", HL7),
        ("\x0bMSH|^~\\&#|LAB|H|E\rPID|1\r\x1c\r", HL7),
        ("FHS|^~\\&|LAB\rMSH|^~\\&|x\r", HL7),
        ("MSH^~|\\&^LAB\r", HL7),
        ('{"resourceType": "Bundle"}', JSON),
        ('[\n  {"id": 1}]', JSON),
    ],
)
def test_marked_up_text_is_recognised_in_any_encoding(text: str, found: FileFormat) -> None:
    assert sniff(text.encode("utf-8")) is found
    assert sniff(text.encode("utf-8-sig")) is found
    assert sniff(text.encode("utf-16")) is found
    assert sniff(text.encode("utf-16-le"), encoding="utf-16-le") is found


def _zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (_zipped, ".docx"),
        (lambda: gzip.compress(b"Rash."), "gzip"),
        (lambda: bz2.compress(b"Rash."), "bzip2"),
        (lambda: lzma.compress(b"Rash."), "xz"),
        (lambda: b"%PDF-1.7\n...", "PDF"),
        (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), ".doc"),
        (lambda: bytes(128) + b"DICM", "DICOM"),
        (lambda: b"SQLite format 3\x00", "SQLite"),
    ],
)
def test_binary_files_are_named(make: Callable[[], bytes], word: str) -> None:
    found = sniff(make())
    assert found is not None
    assert word in found.name
    assert not found.has_markup


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1))
def test_words_in_front_make_a_note_of_anything(text: str) -> None:
    assert sniff(f"Note: {text}".encode()) is None


def test_real_notes_are_plain_text(corpora: Path) -> None:
    """No file of the text corpora is taken for another format."""
    files = sorted(path for path in corpora.rglob("*.txt") if path.is_file())[::5]
    assert len(files) > 500
    assert [path.name for path in files if sniff(path.read_bytes())] == []


@pytest.mark.parametrize(
    "piece", ["<!---->", "<!-- x -->\n", "<?x ?>", "<!doctype [ ]>", "<a", "<"]
)
def test_hostile_repetition_takes_no_time(piece: str) -> None:
    started = time.perf_counter()
    sniff((piece * 4096).encode())
    assert time.perf_counter() - started < 1.0


def test_tags_are_counted_and_placeholders_are_not() -> None:
    assert count_tags("Denies <b>pain</b>.<br/>BP <120 and HR > 60 <DATE> <NAME>") == 3
    assert count_tags("no tag") == 0


def test_utf16_without_a_mark_is_guessed_and_nothing_else_is() -> None:
    text = "Rash after amoxicillin. Café.\n"
    assert guess_utf16(text.encode("utf-16-le")) == "utf-16-le"
    assert guess_utf16(text.encode("utf-16-be")) == "utf-16-be"
    for other in (text.encode(), (text + "\0").encode(), b"", b"\0" * 40, text.encode("utf-32-le")):
        assert guess_utf16(other) is None


def test_markup_given_as_text_is_named() -> None:
    assert name_markup(r"{\rtf1 rash}") == "RTF"
    assert name_markup("<html><p>x</p></html>") == "HTML"
    assert [name_markup(text) for text in PLAIN] == [""] * len(PLAIN)
