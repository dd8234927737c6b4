"""Turn documents with markup into plain text: RTF, HTML, HL7 CDA and HL7 v2 messages.

The work is done by libraries of the extra ``[documents]``: striprtf, inscriptis and hl7. What
comes out is the text that a reader of the document would see, with lines, list items and table
rows on lines of their own and a tab between the cells of a row. Offsets of mentions then count
code points of that text, not of the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from functools import partial
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from emlb_runtime.errors import ConfigError, DataError

from .sniff import CDA, HL7, HTML, RTF, FileFormat, decode_markup, has_mark

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LIBRARIES = ("striprtf", "inscriptis", "hl7")
"""What strips markup, by their names as modules and as distributions."""

_CDA = "{urn:hl7-org:v3}"
_WEB_CHARSET = re.compile(
    r"ascii|utf-8(-sig)?|cp12\d\d|cp(437|850|866|932|936|949|950)|iso8859-\d+|koi8-[ru]|mac-.+"
    r"|big5.*|euc.+|gb.+|shift_jis.*"
)
"""Python's names of the character sets that pages are written in."""

_DEPTH = 256
"""Nesting of XML elements beyond which a document is refused; narrative blocks reach about 20."""


def check_libraries() -> None:
    """Check that the libraries that strip markup are installed.

    Raises:
        ConfigError: saying how to install them.
    """
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise ConfigError(
            f"--markup strip needs {', '.join(missing)}: pip install 'emlb[documents]'"
        )


def strip_markup(data: bytes, found: FileFormat, *, encoding: str = "utf-8") -> str:
    """The plain text of a document.

    Args:
        data: the file.
        found: its format, one with ``has_markup``.
        encoding: of its text, where the file itself does not say.

    Returns:
        The text, with ``\\n`` for line ends.

    Raises:
        DataError: in one sentence without any text of the document, if it is broken, encloses
            no text or is several documents in one.
    """
    strip = _STRIPPERS[found]
    try:
        text = strip(data, encoding)
    except DataError:
        raise
    except (Exception, RecursionError) as error:  # of any library: its words may quote the note
        raise DataError(
            f"it is {found.name}, and its text cannot be read ({type(error).__name__}): "
            "convert it to plain text first"
        ) from None
    if not text.strip():
        raise DataError(f"it is {found.name}, and holds no text that EMLB can read")
    return text


def _strip_rtf(data: bytes, encoding: str) -> str:
    from striprtf.striprtf import rtf_to_text

    # RTF is ASCII, names its code page itself and writes other characters as escapes.
    text: str = rtf_to_text(data.decode("latin-1"), errors="replace")
    return text


def _strip_html(data: bytes, encoding: str) -> str:
    return _render(_decode_html(data, encoding))


def _decode_html(data: bytes, encoding: str) -> str:
    """HTML as text, by its byte-order mark, its declared character set, or ``encoding``.

    A declaration that can be read as ASCII is not in UTF-16, whatever it says: HTML's own rule.
    """
    declared = re.search(rb"<meta[^>]+charset\s*=\s*[\"']?([\w.:-]+)", data[:4096], re.I)
    if declared is not None and not has_mark(data):
        name = declared[1].decode("ascii").lower()
        try:
            if _WEB_CHARSET.fullmatch(codecs.lookup(name).name):
                return data.decode(name)
        except (LookupError, UnicodeError):
            pass  # declared wrongly
    return decode_markup(data, encoding)


def _render(html: str) -> str:
    from inscriptis import get_text
    from inscriptis.css_profiles import CSS_PROFILES
    from inscriptis.model.config import ParserConfig

    # lxml refuses a declaration of the encoding in text that is decoded already.
    html = re.sub(r"^\s*<\?xml[^>]*\?>", "", html.lstrip("\ufeff"))
    style = ParserConfig(css=CSS_PROFILES["strict"], table_cell_separator="\t")
    text: str = get_text(html, style)
    # inscriptis pads cells into columns; a reader of the layout wants the tab alone.
    return re.sub(r"(?<![ \xa0])[ \xa0]++(?=\t|\n|$)", "", text)


def _strip_cda(data: bytes, encoding: str) -> str:
    """Titles and narrative blocks of a clinical document, in their order."""
    from defusedxml.ElementTree import fromstring

    root = fromstring(data)  # XML states its own encoding
    if _local(root) != "ClinicalDocument":
        raise DataError("it is XML, but its root is no ClinicalDocument of HL7 CDA")
    if root.find(f"{_CDA}component/{_CDA}nonXMLBody") is not None:
        raise DataError("it is HL7 CDA with an embedded file in place of text: extract that first")
    body = root.find(f"{_CDA}component/{_CDA}structuredBody")
    blocks = [] if body is None else list(_narrative(body, 0))
    return _render("<html><body>" + "".join(blocks) + "</body></html>")


def _narrative(element: Element, depth: int) -> Iterator[str]:
    """HTML of the titles and texts of all sections below an element."""
    _check_depth(depth)
    for child in element:
        name = _local(child)
        if name == "title":
            yield f"<h2>{escape(''.join(child.itertext()))}</h2>"
        elif name == "text":
            yield f"<div>{_to_html(child, 0)}</div>"
        elif name in ("component", "section", "structuredBody"):
            yield from _narrative(child, depth + 1)


_KEPT = ("table", "thead", "tbody", "tfoot", "tr", "th", "td", "sup", "sub")
_HTML_OF = {
    "paragraph": "p",
    "list": "ul",
    "item": "li",
    "caption": "p",
    "linkHtml": "a",
    **dict(zip(_KEPT, _KEPT, strict=True)),
}


def _to_html(element: Element, depth: int) -> str:
    """A narrative block (CDA Release 2, section 4.3.5) in HTML's words."""
    _check_depth(depth)
    parts = [escape(element.text or "")]
    for child in element:
        name = _local(child)
        if child.get("revised") != "delete":
            inner = _to_html(child, depth + 1)
            tag = _HTML_OF.get(name, "span")
            parts.append("<br/>" if name == "br" else f"<{tag}>{inner}</{tag}>")
        parts.append(escape(child.tail or ""))
    return "".join(parts)


def _check_depth(depth: int) -> None:
    if depth > _DEPTH:
        raise DataError(f"it is XML nested deeper than {_DEPTH} elements")


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _strip_hl7(data: bytes, encoding: str) -> str:
    """What a message reports: observations (OBX), notes (NTE), allergies (AL1), diagnoses (DG1)."""
    import hl7

    text = decode_markup(data, encoding).strip("\x0b\x1c\r\n\ufeff \t")
    lines = re.sub(r"\r\n?|\n", "\r", text)
    if not lines.startswith("MSH") or len(re.findall(r"\rMSH", lines)):
        raise DataError("it is a batch of HL7 messages: write each message to a file of its own")
    message = hl7.parse(lines)
    told: list[str] = []
    heading = ""
    for segment in message:
        kind = str(segment[0])
        if kind == "OBX" and _field(segment, 2) in ("ED", "RP"):
            raise DataError(
                "it is an HL7 v2 message with an embedded file in place of text: extract that first"
            )
        if kind == "OBX":
            name, value = _observation(message, segment)
            is_prose = _field(segment, 2) in ("TX", "FT", "ST")
            if is_prose and name != heading and name:
                told.append(f"{name}:")
            heading = name if is_prose else ""
            told += [value] if is_prose or not name else [f"{name}: {value}"]
        elif kind in _TOLD:
            heading = ""
            told.append(_TOLD[kind](message, segment))
    return "\n".join(line for line in told if line.strip())


def _observation(message: Any, segment: Any) -> tuple[str, str]:
    """What an OBX segment observes (OBX-3), and its value with units and flag (OBX-5, 6, 8)."""
    value = _text(message, segment, 5)
    unit, flag = _text(message, segment, 6, component=0), _text(message, segment, 8)
    rest = " ".join(part for part in (unit, f"({flag})" if flag else "") if part)
    return _text(message, segment, 3), f"{value} {rest}".strip()


def _allergy(message: Any, segment: Any) -> str:
    reaction = _text(message, segment, 5).replace("\n", ", ")
    name = _text(message, segment, 3)
    return f"Allergy: {name} ({reaction})" if reaction else f"Allergy: {name}"


def _comment(message: Any, segment: Any) -> str:
    return _text(message, segment, 3)


def _diagnosis(message: Any, segment: Any) -> str:
    return f"Diagnosis: {_text(message, segment, 4) or _text(message, segment, 3)}"


_TOLD: dict[str, Callable[[Any, Any], str]] = {
    "AL1": _allergy,
    "DG1": _diagnosis,
    "NTE": _comment,
}


def _field(segment: Any, number: int) -> str:
    return str(segment[number]) if number < len(segment) else ""


def _text(message: Any, segment: Any, number: int, *, component: int = 1) -> str:
    """A field as words, repetitions on lines of their own and escapes undone.

    Of a coded element (CODE^TEXT^SYSTEM) the wanted component, or the code if that is empty.
    """
    if number >= len(segment):
        return ""
    said = []
    for repetition in segment[number]:
        text = str(repetition)
        components = text.split(message.separators[3])
        if len(components) > 1:
            text = components[component] or components[0]
        said.append(_ESCAPE.sub(partial(_unescape, message), text))
    return "\n".join(said)


# Only these go to the library: it logs what it does not know, and that may quote a note.
_KNOWN_ESCAPE = re.compile(r"\\(?:[FSTRE]|X(?:[0-9A-Fa-f]{2})+)\\")
_ESCAPE = re.compile(r"\\(?:[A-Z]|[CMXZ][0-9A-Za-z.]*|\.[a-z]{2}[+-]?\d*)\\")


def _unescape(message: Any, escape: re.Match[str]) -> str:
    """Undo one of HL7's escapes (section 2.7); one that only formats leaves nothing."""
    if _KNOWN_ESCAPE.fullmatch(escape[0]):
        return str(message.unescape(escape[0]))
    return "\n" if escape[0].startswith((r"\.br", r"\.sp", r"\.ce")) else ""


_STRIPPERS: dict[FileFormat, Callable[[bytes, str], str]] = {
    RTF: _strip_rtf,
    HTML: _strip_html,
    CDA: _strip_cda,
    HL7: _strip_hl7,
}
