"""Markup is removed by name, or the file is refused; offsets then count the text that is left."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats import markup
from emlb_runtime.formats.markup import strip_markup
from emlb_runtime.formats.notes import check_markup, read_note
from emlb_runtime.formats.sniff import CDA, HL7, HTML, RTF, sniff
from emlb_runtime.records import ErrorRecord, Note

MARKER = "Zebrafish"

RTF_NOTE = (
    r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss\fcharset0 Arial;}}"
    "\n"
    r"{\*\generator Any 1.0;}\pard\b ALLERGIES\b0\par Codeine \emdash  vom\i it\i0 ing.\par"
    "\n"
    r"Temp 38.5\'b0C. No ed\b e\b0 ma.\line\bullet\tab Lisinopril 10\~mg daily\par"
    r"\trowd\cellx1000\cellx2000 Na\cell 140\cell\row}"
).encode("ascii")

HTML_NOTE = (
    b"<html><head><title>t</title><style>p{color:red}</style><script>x()</script></head><body>"
    b"<h2>Plan</h2><ul><li>Stop <b>warfarin</b></li><li>Start&nbsp;apixaban</li></ul>"
    b"<table><tr><td>Potassium</td><td>5.6</td></tr><tr><td>Sodium</td><td>132</td></tr></table>"
    b"<p>BP &lt; 90,\n  no caf&eacute;-au-lait<br>spots.</p></body></html>"
)

CDA_NOTE = b"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Visit</title>
<recordTarget><patientRole><patient><name><given>Zebrafish</given></name></patient></patientRole>
</recordTarget><component><structuredBody><component><section><title>Medications</title>
<text><list><item>Metformin 500 mg</item><item><content>Aspirin</content> <br/>81 mg</item></list>
<paragraph>No rash &amp; no edema.</paragraph></text>
<entry><act><text>coded</text></act></entry>
<component><section><title>Allergies</title><text><table><tbody><tr><td>Codeine</td><td>Nausea</td>
</tr></tbody></table></text></section></component></section></component></structuredBody>
</component></ClinicalDocument>"""

HL7_NOTE = "\r".join(
    (
        r"MSH|^~\&|LAB|HOSP|EHR|HOSP|202403040915||ORU^R01|123|P|2.3",
        "PID|1||9999^^^HOSP^MR||Zebrafish^JANE||19500101|F",
        r"OBX|1|FT|IMP^IMPRESSION||No effusion.\.br\\H\Small\N\ nodule \T\ scar\Z1\.~Stable.|||||F",
        "OBX|2|FT|IMP^IMPRESSION||No change.||||||F",
        "OBX|3|NM|2823-3^POTASSIUM||5.6|mmol/L^millimoles|3.5-5.1|H|||F",
        "NTE|1||Hemolysed sample",
        "OBX|4|CE|600-7^CULTURE||112283007^E. coli^SCT||||||F",
        "AL1|1|DA|PCN^PENICILLIN|SV|HIVES~RASH",
        "DG1|1||I10^Hypertension^I10",
    )
).encode()


def test_rtf_becomes_its_lines() -> None:
    assert strip_markup(RTF_NOTE, RTF).splitlines() == [
        "ALLERGIES",
        "Codeine — vomiting.",
        "Temp 38.5°C. No edema.",
        "•\tLisinopril 10\xa0mg daily",
        "Na|140|",
    ]


def test_html_becomes_what_its_reader_sees() -> None:
    lines = [line for line in strip_markup(HTML_NOTE, HTML).splitlines() if line.strip()]
    assert lines == [
        "Plan",
        "  * Stop warfarin",
        "  * Start apixaban",
        "Potassium\t5.6",
        "Sodium\t132",
        "BP < 90, no café-au-lait",
        "spots.",
    ]


def test_html_in_the_character_set_that_it_declares() -> None:
    page = "<html><head><meta charset='cp1252'></head><p>38.5°C – hives</p></html>"
    assert "38.5°C – hives" in strip_markup(page.encode("cp1252"), HTML)
    assert "38.5°C – hives" in strip_markup(page.encode("utf-16"), HTML, encoding="utf-16")


def test_html_that_declares_a_wrong_character_set() -> None:
    for declared in ("utf-16", "utf-16le", "utf-32", "utf-7", "unicode_escape", "klingon"):
        page = f"<html><head><meta charset='{declared}'></head><p>38.5°C – no rash.</p></html>"
        assert "38.5°C – no rash." in strip_markup(page.encode(), HTML), declared
    marked = "<html><head><meta charset='cp1252'></head><p>38.5°C</p></html>".encode("utf-8-sig")
    assert "38.5°C" in strip_markup(marked, HTML)


def test_a_run_of_blanks_takes_no_time() -> None:
    started = time.perf_counter()
    strip_markup(f"<html><pre>a{' ' * 200_000}b</pre></html>".encode(), HTML)
    assert time.perf_counter() - started < 5.0


def test_deleted_words_of_cda_are_no_words() -> None:
    changed = CDA_NOTE.replace(
        b"No rash", b"<content revised='delete'>Severe</content> No <content>rash</content>"
    )
    assert "Severe" not in strip_markup(changed, CDA)


def test_cda_becomes_titles_and_narrative_of_nested_sections() -> None:
    text = strip_markup(CDA_NOTE, CDA)
    assert [line.strip() for line in text.splitlines() if line.strip()] == [
        "Medications",
        "* Metformin 500 mg",
        "* Aspirin",
        "81 mg",
        "No rash & no edema.",
        "Allergies",
        "Codeine\tNausea",
    ]
    assert MARKER not in text  # the header is no part of the note


def test_hl7_becomes_what_it_reports() -> None:
    assert strip_markup(HL7_NOTE, HL7).splitlines() == [
        "IMPRESSION:",
        "No effusion.",
        "Small nodule & scar.",
        "Stable.",
        "No change.",
        "POTASSIUM: 5.6 mmol/L (H)",
        "Hemolysed sample",
        "CULTURE: E. coli",
        "Allergy: PENICILLIN (HIVES, RASH)",
        "Diagnosis: Hypertension",
    ]
    for end in (b"\n", b"\r\n"):
        assert strip_markup(HL7_NOTE.replace(b"\r", end), HL7) == strip_markup(HL7_NOTE, HL7)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<ClinicalDocument xmlns='urn:hl7-org:v3'><component>", "ParseError"),
        (
            b"<ClinicalDocument xmlns='urn:hl7-org:v3'><component><nonXMLBody><text>AAAA</text>"
            b"</nonXMLBody></component></ClinicalDocument>",
            "an embedded file",
        ),
        (
            b"<ClinicalDocument xmlns='urn:hl7-org:v3'><title>x</title></ClinicalDocument>",
            "no text",
        ),
        (
            b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aaaa'>]>"
            b"<ClinicalDocument xmlns='urn:hl7-org:v3'>&a;</ClinicalDocument>",
            "EntitiesForbidden",
        ),
        (HL7_NOTE + b"\r" + HL7_NOTE, "a batch of HL7 messages"),
        (HL7_NOTE + b"\rOBX|9|ED|PDF^Report||^application^pdf^Base64^JVBERi0=", "an embedded file"),
        (b"FHS|^~\\&|LAB\rBHS|^~\\&|LAB\r" + HL7_NOTE, "a batch of HL7 messages"),
        (b"MSH|^~\\&|LAB\rPID|1||9||Zebrafish\r", "no text"),
        (rb"{\rtf1\ansi }", "no text"),
        (b"<html><body></body></html>", "no text"),
    ],
)
def test_what_cannot_be_stripped_is_told_in_a_sentence(data: bytes, says: str) -> None:
    found = sniff(data)
    assert found is not None
    with pytest.raises(DataError, match=says) as caught:
        strip_markup(data, found)
    assert MARKER not in str(caught.value)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    deep = "<content>" * 20_000 + "x" + "</content>" * 20_000
    section = f"<section><text>{deep}</text></section>"
    body = f"<component><structuredBody><component>{section}</component></structuredBody>"
    cda = f"<ClinicalDocument xmlns='urn:hl7-org:v3'>{body}</component></ClinicalDocument>"
    with pytest.raises(DataError):
        strip_markup(cda.encode(), CDA)


@given(st.binary(max_size=300))
def test_any_bytes_are_stripped_or_refused(data: bytes) -> None:
    for start, found in ((rb"{\rtf1 ", RTF), (b"<html>", HTML), (b"MSH|^~\\&|", HL7)):
        try:
            assert strip_markup(start + data, found).strip()
        except DataError as error:
            assert "\n" not in str(error)


def test_no_library_logs_what_a_note_says(caplog: pytest.LogCaptureFixture) -> None:
    odd = rf"MSH|^~\&|LAB{chr(13)}OBX|1|TX|1^A||\{MARKER}\ \Q\ \XZZ\ \Z{MARKER}\ \C{MARKER}\ x"
    with caplog.at_level(logging.DEBUG):
        strip_markup(odd.encode(), HL7)
        strip_markup(RTF_NOTE + rf"\u{MARKER} {{\*\{MARKER} x}}".encode(), RTF)
    assert MARKER not in caplog.text


def test_files_are_refused_by_name_unless_their_markup_is_stripped(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"  # whatever it is called
    for data, word in (
        (RTF_NOTE, "RTF"),
        (HTML_NOTE, "HTML"),
        (HL7_NOTE, "HL7"),
        (CDA_NOTE, "CDA"),
    ):
        path.write_bytes(data)
        refused = read_note(path, name="n")
        assert isinstance(refused, ErrorRecord)
        assert word in refused.error
        assert "--markup strip" in refused.error
        note = read_note(path, name="n", markup="strip")
        assert isinstance(note, Note)
        assert word in note.source_format
        assert "<" not in note.text.replace("BP < 90", "")


def test_binary_files_are_no_matter_of_encoding(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"%PDF-1.7 \xff\xfe")
    record = read_note(path, name="n", markup="strip")
    assert record == ErrorRecord(
        "n", "it is PDF, not plain text: convert it first, for example with pdftotext -layout"
    )
    path.write_bytes(bytes(range(1, 32)) * 20 + b"\xff")
    record = read_note(path, name="n")
    assert isinstance(record, ErrorRecord)
    assert "a binary file" in record.error
    assert "--encoding" not in record.error
    path.write_bytes("Café. \x1b[1mRash\x1b[0m\fpage 2".encode("cp1252"))
    record = read_note(path, name="n")
    assert isinstance(record, ErrorRecord)
    assert "--encoding" in record.error


def test_missing_libraries_are_named_before_any_note(monkeypatch: pytest.MonkeyPatch) -> None:
    check_markup("refuse")
    check_markup("strip")
    with pytest.raises(ConfigError, match="refuse or strip"):
        check_markup("ignore")
    monkeypatch.setattr(markup, "find_spec", lambda name: None)
    check_markup("refuse")
    with pytest.raises(ConfigError, match=r"striprtf, inscriptis, hl7: pip install 'emlb\[doc"):
        check_markup("strip")


def test_utf16_without_a_mark_is_an_error_record(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes("Rash after penicillin.".encode("utf-16-le"))
    assert read_note(path, name="n") == ErrorRecord(
        "n", "it looks like UTF-16: try --encoding utf-16-le"
    )
    assert read_note(path, name="n", encoding="utf-16-le") == Note("n", "Rash after penicillin.")
