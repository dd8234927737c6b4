"""Name the format of a file that is not plain text, from its first bytes.

A note must be plain text. Record systems also export RTF, HL7 messages, HTML and CDA, and
folders hold Word files, PDFs and archives. Read as words, their markup becomes mentions. This
module recognises them, so that the reader can refuse a file by name or remove its markup.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

_HEAD = 4096
"""How many bytes decide. Every signature below stands within them."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format that a note may turn out to have.

    Attributes:
        name: how messages call it.
        advice: what to do about such a file, as a clause that completes a sentence.
        has_markup: whether ``markup.strip_markup`` can turn it into plain text.
    """

    name: str
    advice: str
    has_markup: bool = False


_STRIP = "use --markup strip, or convert it to plain text first"

RTF = FileFormat("RTF", _STRIP, has_markup=True)
HTML = FileFormat("HTML", _STRIP, has_markup=True)
CDA = FileFormat("HL7 CDA (XML)", _STRIP, has_markup=True)
HL7 = FileFormat("an HL7 v2 message", _STRIP, has_markup=True)
XML = FileFormat("XML", "convert it to plain text first")
JSON = FileFormat(
    "JSON",
    "convert it to plain text first, or to JSON lines and name --id-column and --text-column",
)

PARQUET = FileFormat("a Parquet table", "export its text column first")

_OFFICE = "save it as plain text in its own program, or convert it first"
_UNPACK = "decompress it first"

_SIGNATURES: tuple[tuple[int, bytes, FileFormat], ...] = (
    (0, b"%PDF-", FileFormat("PDF", "convert it first, for example with pdftotext -layout")),
    (0, b"PK\x03\x04", FileFormat("a ZIP archive or an Office file such as .docx", _OFFICE)),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileFormat("an old Office file (.doc)", _OFFICE)),
    (0, b"\x1f\x8b", FileFormat("gzip-compressed", _UNPACK)),
    (4, b"1AY&SY", FileFormat("bzip2-compressed", _UNPACK)),
    (0, b"\xfd7zXZ\x00", FileFormat("xz-compressed", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", FileFormat("Zstandard-compressed", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", FileFormat("a 7-Zip archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", FileFormat("a RAR archive", _UNPACK)),
    (257, b"ustar\0", FileFormat("a tar archive", "unpack it first")),
    (257, b"ustar  \0", FileFormat("a tar archive", "unpack it first")),
    (0, b"ARROW1\0\0", FileFormat("an Arrow table", "export its text column first")),
    (0, b"SQLite format 3\x00", FileFormat("an SQLite database", "export its notes first")),
    (128, b"DICM", FileFormat("a DICOM file", "export its report as plain text first")),
    (0, b"\x89PNG\r\n\x1a\n", FileFormat("a PNG image", "recognise its text first (OCR)")),
    (0, b"\xff\xd8\xff", FileFormat("a JPEG image", "recognise its text first (OCR)")),
    (0, b"II*\x00", FileFormat("a TIFF image", "recognise its text first (OCR)")),
    (0, b"MM\x00*", FileFormat("a TIFF image", "recognise its text first (OCR)")),
)

_TAGS = (
    "a abbr address article b big blockquote body br center code div dl em font footer h1 h2 h3 "
    "h4 h5 h6 head header hr i img li link main meta nav ol p pre script section small span "
    "strong style sub sup table tbody td th thead title tr tt u ul"
).replace(" ", "|")
_TAG = re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_END_TAG = re.compile(rf"</(?:{_TAGS})>|<br ?/?>", re.IGNORECASE)

# Atomic: what hostile files repeat a thousand times must not be tried in every combination.
_BEFORE_ROOT = r"(?>\s*(?:<!--.*?-->|<\?[^>]*\?>|<!doctype[^>\[]*(?:\[[^\]]*\]\s*)?>))*+\s*"
_HTML = re.compile(
    r"(?>\s*(?:<!--.*?-->|<\?[^>]*\?>))*+\s*(?:<!doctype\s+html|<html[\s>])", re.I | re.S
)
_ROOT = re.compile(rf"{_BEFORE_ROOT}<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)(?=[\s/>])", re.I | re.S)
_HL7 = re.compile(r"\s*\x0b?(?:MSH|FHS|BHS)([^\w\s])[^\w\s]{2,5}\1")
_JSON = re.compile(r'\s*(?:\{\s*"[^"\n]*"\s*:|\[\s*\{\s*")')
_RTF = re.compile(r"\s*\{\\rtf[0-9]")


def sniff(data: bytes, *, encoding: str = "utf-8") -> FileFormat | None:
    """The format of a file that is not plain text.

    Args:
        data: the whole file.
        encoding: the encoding of its text, as Python names it; a byte-order mark of UTF-8 or
            UTF-16 overrides it.

    Returns:
        The format, or None for what looks like plain text.
    """
    for offset, signature, found in _SIGNATURES:
        if data.startswith(signature, offset):
            return found
    if data.startswith(b"PAR1") and data.endswith(b"PAR1") and len(data) > 8:
        return PARQUET
    if _is_plain_start(data):
        return None
    head = decode_markup(data[:_HEAD], encoding)
    if _RTF.match(head):
        return RTF
    if _HL7.match(head):
        return HL7
    if _JSON.match(head):
        return JSON
    return _sniff_xml(head, data[-_HEAD:], encoding)


def guess_utf16(data: bytes) -> str | None:
    """The kind of UTF-16 that a file without a byte-order mark seems to be in; None if neither.

    Western text in UTF-16 has NUL for every other byte, and no text in another encoding does.
    """
    head = data[:_HEAD]
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if zeros and zeros.count(0) > 0.8 * len(zeros) and head.count(0) < 0.6 * len(head):
            return name
    return None


def name_markup(text: str) -> str:
    """The format whose markup a text begins with; empty for plain text."""
    start = text[:64].lstrip()
    if start[:1].isalnum() and not start.startswith(("MSH", "FHS", "BHS")):
        return ""
    found = sniff(text[:_HEAD].encode("utf-8", "replace"))
    return "" if found is None else found.name


def count_tags(text: str) -> int:
    """How many HTML tags stand in a text, such as a note with pieces of HTML among its words."""
    return sum(1 for _ in _TAG.finditer(text)) if "<" in text else 0


_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def has_mark(data: bytes) -> bool:
    """Whether a file begins with a byte-order mark."""
    return any(data.startswith(mark) for mark, _ in _MARKS)


def decode_markup(data: bytes, encoding: str) -> str:
    """Decode markup by its byte-order mark, else by ``encoding``, replacing what does not fit."""
    for mark, marked in _MARKS:
        if data.startswith(mark):
            encoding = marked
    return data.decode(encoding, "replace")


def _is_plain_start(data: bytes) -> bool:
    """Whether a file begins like words in an encoding that extends ASCII.

    Most files are notes, and this spares them the rest.
    """
    first = data[:64].lstrip()
    if first.startswith((b"MSH", b"FHS", b"BHS")):
        return False
    return first[:1].isalnum() and first[1:2] != b"\0"


def _sniff_xml(head: str, end: bytes, encoding: str) -> FileFormat | None:
    """HTML, CDA or other XML; None if the text only happens to hold an angle bracket."""
    if not head.lstrip().startswith("<"):
        return None
    if _HTML.match(head):
        return HTML
    root = _ROOT.match(head)
    if root is None:
        return None
    name = root[1]
    if name == "ClinicalDocument":
        return CDA
    if head.lstrip().lower().startswith("<?xml"):
        return XML
    if _TAG.match(f"<{name}>") and _END_TAG.search(head):
        return HTML  # a fragment of a page
    closed = decode_markup(end, encoding).rstrip().endswith(f"{name}>")
    return XML if closed and "</" in head else None
