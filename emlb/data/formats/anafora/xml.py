"""Anafora's XML as plain annotations, with the line of every element; nothing is judged yet.

A document type declaration is refused before anything in it is looked at, so there are no
entities to expand and nothing outside the file is opened.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, InputSource, Locator

from defusedxml import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.files.limits import (
    ANNOTATIONS,
    XML_ELEMENTS,
    XML_FILE,
    XML_NESTING,
    TooLarge,
)

_FIELDS = ("id", "span", "type")
_ENTITY_ID = re.compile(r"([0-9]{1,9})@e@.+@[^@]+", re.DOTALL)
_MAYBE_NAME = re.compile(r"[^\s<>/&\"'=!?:]+")


class RefusedXml(Exception):
    """The file cannot be read; holds one of the reasons of reports and the line."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True)
class Property:
    """A child of ``<properties>``; its value is None if it holds elements of its own."""

    name: str
    value: str | None = field(repr=False)
    line: int


@dataclass(slots=True)
class Annotation:
    """An ``<entity>`` or ``<relation>`` as it stands.

    Attributes:
        kind: ``entity`` or ``relation``.
        line: the line that it begins on.
        fields: the text of its ``<id>``, ``<span>`` and ``<type>``; of one that it holds
            twice, nothing.
        properties: in file order.
        passed_over: elements that have no meaning for a reader (``<addition>``).
    """

    kind: str
    line: int
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    properties: list[Property] = field(default_factory=list)
    passed_over: int = 0

    def only(self, name: str) -> str:
        """The text of the field if it is given exactly once; else nothing."""
        return self.fields.get(name, "")


@dataclass(frozen=True, slots=True)
class Annotations:
    """The content of one file: its annotations, and the lines of what is none."""

    items: list[Annotation] = field(default_factory=list)
    strange: list[int] = field(default_factory=list)


def parse_annotations(data: bytes) -> Annotations:
    """Parse one file.

    Raises:
        RefusedXml: if it is not well-formed, holds a declaration, exceeds a limit or has
            another root element than ``<data>``.
    """
    if len(data) > XML_FILE.value:
        raise RefusedXml(TooLarge(XML_FILE).reason, 0)
    handler = _Handler()
    _parse(data, handler)
    return handler.found


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """``12@e@DOC@gold`` to ``T12``, where no other id of the file wants the same; else itself."""
    wanted = {}
    for id in ids:
        match = _ENTITY_ID.fullmatch(id)
        wanted[id] = f"T{match[1]}" if match else id
    counts = Counter(wanted.values())
    return {id: short if counts[short] == 1 else id for id, short in wanted.items()}


@lru_cache(maxsize=1024)
def is_xml_name(name: str) -> bool:
    """Whether the parser takes this as an element's name, with no prefix in it."""
    if not _MAYBE_NAME.fullmatch(name):
        return False
    handler = _FirstName()
    try:
        _parse(f"<{name}/>".encode(), handler)
    except (RefusedXml, UnicodeEncodeError):
        return False
    return handler.name == name


def _parse(data: bytes, handler: ContentHandler) -> None:
    # Fed at once: older expats begin again at each piece of a tag or text without an end.
    parser = DefusedExpatParser(bufsize=len(data) + 1, forbid_dtd=True)
    parser.setContentHandler(handler)
    source = InputSource()
    source.setByteStream(BytesIO(data))
    # What the parsers say may quote the file, so only the line is taken from them.
    try:
        parser.parse(source)
    except DefusedXmlException:
        raise RefusedXml(reasons.FORBIDDEN_XML, parser.getLineNumber() or 0) from None
    except SAXParseException as error:
        raise RefusedXml(reasons.BROKEN_XML, error.getLineNumber() or 0) from None
    except (SAXException, LookupError, ValueError):  # an encoding that Python lacks
        raise RefusedXml(reasons.BROKEN_XML, parser.getLineNumber() or 0) from None


class _FirstName(ContentHandler):
    name = ""

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        self.name = name


class _Handler(ContentHandler):
    """Builds Annotations; knows by the path of open elements where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Annotations()
        self._path: list[str] = []
        self._text: list[str] | None = None
        self._line = 0
        self._is_nested = False
        self._lines: Locator | None = None
        self._n_elements = 0
        self._most = XML_ELEMENTS.value
        self._most_items = ANNOTATIONS.value

    def setDocumentLocator(self, locator: Locator) -> None:
        self._lines = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        line = self._line_now()
        self._path.append(name)
        depth = len(self._path)
        if depth > XML_NESTING:
            raise RefusedXml(reasons.DEEP_XML, line)
        self._n_elements += 1
        if self._n_elements > self._most:
            raise RefusedXml(TooLarge(XML_ELEMENTS).reason, line)
        if len(self.found.items) > self._most_items:
            raise RefusedXml(TooLarge(ANNOTATIONS).reason, line)
        if depth == 1 and name != "data":
            raise RefusedXml(reasons.WRONG_ROOT, line)
        if self._path[:2] != ["data", "annotations"]:
            return
        if depth == 3:
            if name in ("entity", "relation"):
                self.found.items.append(Annotation(name, line))
            else:
                self.found.strange.append(line)
        elif depth > 3 and self._path[2] in ("entity", "relation"):
            self._start_within(name, depth, line)

    def _start_within(self, name: str, depth: int, line: int) -> None:
        is_property = depth == 5 and self._path[3] == "properties"
        if is_property or (depth == 4 and name in _FIELDS):
            self._text, self._line, self._is_nested = [], line, False
        elif self._text is not None:
            self._is_nested = True
        elif name not in ("properties", "parentsType"):
            self.found.items[-1].passed_over += 1

    def characters(self, content: str) -> None:
        if self._text is not None:
            self._text.append(content)

    def endElement(self, name: str) -> None:
        depth = len(self._path)
        is_property = depth == 5 and self._path[3] == "properties"
        if self._text is not None and (is_property or depth == 4):
            text = None if self._is_nested else "".join(self._text)
            annotation = self.found.items[-1]
            if is_property:
                annotation.properties.append(Property(name, text, self._line))
            else:
                annotation.fields[name] = "" if name in annotation.fields else text or ""
            self._text = None
        self._path.pop()

    def _line_now(self) -> int:
        return (self._lines.getLineNumber() or 0) if self._lines else 0
