"""brat stand-off: ``NAME.txt`` with ``NAME.ann`` beside it.

Offsets are code points of the text decoded as UTF-8 and otherwise untouched: a
byte-order mark and carriage returns count. Where a file was annotated on another count
(CRLF as one character, UTF-16 units), its surfaces stand elsewhere: a mention is moved to
where its surface stands by that count, with a remark. A mention whose surface stands at its
offsets by no count is not used, and neither is what hangs on it; both are reported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from emlb_runtime.errors import DataError
from emlb_runtime.formats.files.limits import ANNOTATION_FILE, NOTE, Limit, TooLarge, read_file
from emlb_runtime.records import Document, Note

from . import report as reasons
from ._brat_parser import BratParser
from ._offsets import surface_of
from .folders import files_below
from .report import Report, unusable

_ENTITY_ID = re.compile(r"T[0-9]{1,9}")


def read_brat_folder(folder: Path) -> Iterator[tuple[Document, Report]]:
    """Read every brat pair under a folder, sorted by name; end at the first broken one.

    Args:
        folder: searched with its subfolders for ``.txt`` and ``.ann`` files; hidden ones do
            not count.

    Yields:
        A document named by its path under the folder, without the ending and with
        ``/`` between folders, and what its annotations could not be used for.

    Raises:
        DataError: if there is no pair, a file lacks its partner (a ``.txt`` without
            ``.ann`` is an unannotated note, not a note without mentions), or one is
            unreadable.
    """
    pairs, lonely = find_brat_pairs(folder)
    if lonely:
        raise DataError(
            f"{folder}: {len(lonely)} files lack their partner, such as "
            f"{', '.join(path.relative_to(folder).as_posix() for path in list(lonely)[:3])}; "
            "brat needs NAME.txt and NAME.ann side by side "
            "(an empty .ann says that a note has no mentions)"
        )
    for name, pair in pairs.items():
        yield read_brat(pair[0], name=name, annotations=pair[1])


def scan_brat_folder(
    folder: Path, *, texts: Path | None = None
) -> Iterator[tuple[Document | None, Report]]:
    """Like read_brat_folder, but report a file that cannot be used and go on.

    Args:
        folder: the folder.
        texts: see find_brat_pairs.

    Yields:
        Also None in place of a document, with a report that says why.

    Raises:
        DataError: if there is no ``.ann`` file.
    """
    pairs, lonely = find_brat_pairs(folder, texts=texts)
    for path, reason in lonely.items():
        yield None, unusable(path, reason)
    for name, pair in pairs.items():
        try:
            yield read_brat(pair[0], name=name, annotations=pair[1])
        except _Unusable as error:
            yield None, unusable(error.path, error.reason)


def find_brat_pairs(
    folder: Path, *, texts: Path | None = None
) -> tuple[dict[str, tuple[Path, Path]], dict[Path, str]]:
    """The pairs of a folder by their names, and the files that make none, with the reason.

    Args:
        folder: searched with its subfolders.
        texts: where the text lies that is not beside its annotations, as the same path
            below that folder, or else in the one file of that name there.

    Raises:
        DataError: if there is no ``.ann`` file.
    """
    unread: list[Path] = []
    lonely: dict[Path, str] = {}
    notes = _by_name(folder, ".txt", lonely, unread)
    annotations = _by_name(folder, ".ann", lonely, [])
    lonely |= dict.fromkeys(unread, reasons.UNREADABLE)
    if not annotations:
        raise DataError(
            f"{folder}: no brat files found; expected NAME.txt and NAME.ann side by side "
            "in this folder or below it"
        )
    pairs = {}
    elsewhere = _texts_elsewhere(texts) if texts is not None else {}
    for name, path in sorted(annotations.items()):
        text = notes.get(name) or elsewhere.get(name) or elsewhere.get(f"/{path.stem}")
        if text is None:
            lonely[path] = reasons.NO_TEXT
        else:
            pairs[name] = text, path
    for name, path in sorted(notes.items()):
        if name not in annotations:
            lonely[path] = reasons.NO_ANNOTATIONS
    return pairs, lonely


def _by_name(
    folder: Path, ending: str, lonely: dict[Path, str], unread: list[Path]
) -> dict[str, Path]:
    """Files by their paths under the folder, without the ending."""
    found: dict[str, Path] = {}
    for path in files_below(folder, ending, unread=unread):
        name = path.relative_to(folder).as_posix()[: -len(ending)]
        if found.setdefault(name, path) is not path:  # NAME.TXT beside NAME.txt
            lonely[path] = reasons.REPEATED_DOCUMENT
    return found


def _texts_elsewhere(texts: Path) -> dict[str, Path]:
    """The notes below a folder by their paths, and by ``/NAME`` where only one has that name."""
    by_name = _by_name(texts, ".txt", {}, [])
    stems = Counter(path.stem for path in by_name.values())
    return by_name | {f"/{p.stem}": p for p in by_name.values() if stems[p.stem] == 1}


def read_brat(
    text_path: Path, *, name: str | None = None, annotations: Path | None = None
) -> tuple[Document, Report]:
    """Read one note and its ``.ann`` file.

    Args:
        text_path: the ``.txt`` file.
        name: the note's name; the file's name without its ending if None.
        annotations: the ``.ann`` file; the one beside the text if None.

    Raises:
        DataError: if either file is missing, unreadable, too large or not UTF-8.
    """
    annotation_path = annotations or text_path.with_suffix(".ann")
    text = _read_text(text_path, NOTE)
    lines = _read_text(annotation_path, ANNOTATION_FILE)
    name = text_path.stem if name is None else name
    try:
        return parse_brat(text, lines, name=name, file=str(annotation_path))
    except TooLarge as error:
        raise _Unusable(annotation_path, error.reason, str(error)) from None


def parse_brat(
    text: str, annotations: str, *, name: str, file: str = ""
) -> tuple[Document, Report]:
    """Read annotations that are already in memory.

    T lines become entities, R lines relations, A and M lines attributes of entities. An
    event (E) stands for its trigger wherever it is an argument; each of its own roles
    becomes a relation from the trigger, typed by the role without the number brat adds
    to a repeated one (``Theme2``). Other lines are counted only.

    Args:
        text: the note, untouched.
        annotations: the content of its ``.ann`` file.
        name: the note's name.
        file: what the problems call the annotation file.

    Returns:
        The document, in file order, and what is not used or used with a remark.

    Raises:
        DataError: if there are more annotations than ``limits.ANNOTATIONS``.
    """
    return BratParser(Note(name, text), file or f"{name}.ann").parse(annotations)


def format_brat(document: Document) -> str:
    """The document as the content of an ``.ann`` file; scores have no place in brat.

    Ids that brat would not take (other than ``T`` and a number) are numbered again.

    Raises:
        DataError: if a label holds white space, an attribute's value more than single
            spaces, or a relation names no entity.
    """
    entities, text = document.entities, document.note.text
    ids = {entity.id: entity.id for entity in entities}
    if not all(map(_ENTITY_ID.fullmatch, ids)):
        ids = {id: f"T{number}" for number, id in enumerate(ids, start=1)}
    lines = []
    for entity in entities:
        spans = ";".join(f"{start} {end}" for start, end in entity.spans)
        label = _check_label(document, entity.type)
        lines.append(f"{ids[entity.id]}\t{label} {spans}\t{surface_of(text, entity.spans)}\n")
    for number, relation in enumerate(document.relations, start=1):
        if relation.head not in ids or relation.tail not in ids:
            raise DataError(
                f"{document.note.name}: relation {number} names an entity that the document "
                "lacks; drop the relation or keep both of its entities"
            )
        label = _check_label(document, relation.type)
        lines.append(f"R{number}\t{label} Arg1:{ids[relation.head]} Arg2:{ids[relation.tail]}\n")
    attributes = (
        (f"{_check_label(document, name)} {ids[entity.id]}", _check_value(document, value))
        for entity in entities
        for name, value in entity.attributes.items()
    )
    for number, (target, value) in enumerate(attributes, start=1):
        lines.append(f"A{number}\t{target}{' ' if value else ''}{value}\n")
    return "".join(lines)


def _check_label(document: Document, label: str) -> str:
    if not re.fullmatch(r"\S+", label):
        raise DataError(
            f"{document.note.name}: brat cannot hold the label {label!r}; labels need at least "
            "one character and no white space: rename it or use the documents format"
        )
    return label


def _check_value(document: Document, value: str) -> str:
    if value and not re.fullmatch(r"\S+(?: \S+)*", value):
        raise DataError(
            f"{document.note.name}: brat cannot hold an attribute's value with tabs, line ends or "
            "repeated spaces: change it or use the documents format"
        )
    return value


class _Unusable(DataError):
    """A file that ends the reading of its document; the reason is one for reports."""

    def __init__(self, path: Path, reason: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.reason = reason


def _read_text(path: Path, limit: Limit) -> str:
    try:
        data = read_file(path, limit)
    except TooLarge as error:
        raise _Unusable(path, error.reason, str(error)) from None
    except OSError as error:
        message = f"cannot be read ({error.strerror})"
        raise _Unusable(path, reasons.UNREADABLE, message) from None
    try:
        # surrogatepass: the writer keeps a lone surrogate, and offsets must stay true.
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        message = (
            f"not UTF-8 at byte {error.start}; convert the file to UTF-8 and check "
            "that the offsets still fit"
        )
        raise _Unusable(path, reasons.NOT_UTF8, message) from None
