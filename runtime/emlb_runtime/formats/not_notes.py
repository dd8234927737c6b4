"""Text files that are no notes: tables and annotation files.

Read as notes, the names of their columns and their labels become mentions. What decides is the
content, and only where it leaves no doubt: a note may hold commas, tabs, pipes and a line such
as ``Name, Date``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
"""What may stand between the fields of a table, with its name in messages."""

_HEAD = 8_192
_MOST_NAMES = 12

# A cell of a header: a word or three, without a digit in front and without punctuation.
_NAME = re.compile(r"(?!\d)\w+(?:[ ._-]\w+){0,2}")
_LONGEST_NAME = 40
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

ID_NAMES = (
    *("note_id", "row_id", "noteid", "id", "document_id", "doc_id", "report_id", "record_id"),
    *("text_id", "file_id", "uid", "uuid", "guid", "key", "accession", "accession_number"),
    *("document", "doc", "filename", "file_name", "name"),
)
"""Columns that hold the ids of notes, the likeliest first."""

TEXT_NAMES = (
    *("text", "note_text", "notetext", "report_text", "document_text", "full_text", "fulltext"),
    *("note", "report", "transcription", "transcript", "content", "contents", "narrative", "body"),
    *("notes", "comment", "comments", "free_text", "freetext", "raw_text", "clinical_note"),
)
"""Columns that hold the texts of notes, the likeliest first."""

_HEADER_WORDS = frozenset(
    "id ids key uid uuid no num number text note notes report reports content body narrative "
    "comment comments document doc documents file filename name patient subject person mrn hadm "
    "visit encounter admission date time datetime created updated type category class label "
    "labels title description author provider department status code codes language source "
    "section sentence findings impression transcription transcript specialty keywords index row "
    "column value score entity entities relation relations meta metadata".split()
)
"""Nearly every header holds at least one of these words."""


@dataclass(frozen=True, slots=True)
class OtherFile:
    """What a text file turned out to be.

    Attributes:
        name: how messages call it.
        advice: what to do, as a clause.
    """

    name: str
    advice: str

    @property
    def sentence(self) -> str:
        """Why it is not read as a note."""
        return f"it is {self.name}, not a note: {self.advice}"


_ANNOTATIONS_ADVICE = (
    "EMLB reads annotations in brat, Anafora, ShARe/CLEF pipes and JSON lines (emlb data); name"
    " the notes themselves, or convert it first"
)

BRAT = OtherFile("a brat annotation file", _ANNOTATIONS_ADVICE)
I2B2 = OtherFile("an annotation file of i2b2 2010", _ANNOTATIONS_ADVICE)
SHARE = OtherFile("a ShARe/CLEF annotation file", _ANNOTATIONS_ADVICE)
CONLL = OtherFile("a CoNLL file (a token with its label on each line)", _ANNOTATIONS_ADVICE)
CONLL_U = OtherFile("a CoNLL-U file", _ANNOTATIONS_ADVICE)

_FIRST_LINES = (
    (re.compile(r"T\d+\t\S+ \d+ \d+(?:;\d+ \d+)*\t"), BRAT),
    (re.compile(r'c="[^\n]*" \d+:\d+ \d+:\d+\|\|[tra]="'), I2B2),
    (re.compile(r"[^|\n]+\|\|Disease_Disorder\|\|[^|\n]*\|\|\d+\|\|\d+"), SHARE),
    (re.compile(r"[^|\n]+\.(?:txt|text)\|\d+-\d+(?:,\d+-\d+)*\|[^|\n]*\|"), SHARE),
)

_LABELLED = re.compile(r"(?:\S+[ \t]+)+(?:O|[BIESLUM]-[\w-]+)|-DOCSTART-.*")
_BEGUN = re.compile(r"[ \t][BSU]-[\w-]+$", re.MULTILINE)
_TREEBANK = re.compile(r"\d+(?:[-.]\d+)?(?:\t[^\t]+){9}")
_LEAST_LINES = 3


def recognise(text: str) -> OtherFile | None:
    """What a text is if it is no note beyond doubt; None for what may be one."""
    head = text[:_HEAD].lstrip("\ufeff \t\r\n")
    first, _, rest = head.partition("\n")
    first = first.rstrip("\r")
    for pattern, found in _FIRST_LINES:
        if pattern.match(first):
            return found
    if any(delimiter in first for delimiter in DELIMITERS):
        table = _table(first, rest)
        if table is not None:
            return table
    return _labelled_tokens(head, is_whole=len(text) <= _HEAD)


def split_header(line: str, delimiter: str) -> list[str]:
    """The names of columns as a header's line has them, unquoted."""
    return [cell.strip("\ufeff \t").strip('"').strip() for cell in line.split(delimiter)]


def guess_columns(names: Sequence[str]) -> tuple[str, str] | None:
    """The columns that hold the ids and the texts by their names; None if either is unclear."""
    known = {name.casefold().replace(" ", "_").replace("-", "_"): name for name in names}
    id = next((known[name] for name in ID_NAMES if name in known), None)
    text = next((known[name] for name in TEXT_NAMES if name in known), None)
    return (id, text) if id and text and id != text else None


def describe_table(
    kind: str, names: Sequence[str], *, members: bool = False, lacking: Sequence[str] = ()
) -> OtherFile:
    """A table that is not read, with those of its columns that are surely names.

    The first line of a table without a header is a row, and holds text of a note. All names are
    shown only where two of them are well-known names of ids and texts; else those whose every
    word is a word of headers.

    Args:
        kind: what messages call the table.
        names: of its columns.
        members: they are members of JSON objects, which are always names.
        lacking: the columns that were asked for and are not there once.
    """
    guess = guess_columns([name for name in names if _is_plain(name)])
    is_sure = members or (guess is not None and _is_header(names))
    if is_sure:
        first = [name for name in names if not name or _is_plain(name)][:_MOST_NAMES]
    else:
        first = list(filter(_is_header_word, names))[:_MOST_NAMES]
    if first:
        more = f" and {len(names) - len(first)} more" if len(names) > len(first) else ""
        columns = f"its columns are {', '.join(first)}{more}"
    else:
        columns = f"it has {len(names)} columns, and its first line may be no header"
    if lacking:
        asked = " and ".join(lacking)
        return OtherFile(kind, f"it has no single column {asked}; {columns}")
    such = f", such as --id-column {guess[0]} --text-column {guess[1]}" if guess else ""
    return OtherFile(
        kind, f"{columns}; to read a note from each row, name --id-column and --text-column{such}"
    )


def _table(first: str, rest: str) -> OtherFile | None:
    """A table whose header has a column of ids and one of texts, and whose rows fit it."""
    for delimiter, noun in DELIMITERS.items():
        names = split_header(first, delimiter)
        if len(names) < 2 or not _is_header(names) or guess_columns(names) is None:
            continue
        row = next((line for line in rest.split("\n") if line.strip()), "")
        if not row or row.count(delimiter) >= len(names) - 1 or '"' in row:
            return describe_table(f"a table separated by {noun}", names)
    return None


def _is_header(names: Sequence[str]) -> bool:
    """Whether these are names of columns, and no words of a note."""
    given = [name for name in names if name]
    if not given or len(set(given)) < len(given) or not all(map(_is_name, given)):
        return False
    return any(not _words(name).isdisjoint(_HEADER_WORDS) for name in given)


def _is_name(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def _is_plain(name: str) -> bool:
    """Whether a name may be shown: one word, or words that stand in headers."""
    return _is_name(name) and (" " not in name or _words(name) <= _HEADER_WORDS)


def _is_header_word(name: str) -> bool:
    """Whether every word of a name is one that headers have, so that it tells nothing."""
    words = _words(name)
    return _is_name(name) and bool(words) and words <= _HEADER_WORDS


def _words(name: str) -> set[str]:
    return {word.lower() for word in _WORDS.findall(name.replace("_", " "))}


def _labelled_tokens(head: str, *, is_whole: bool) -> OtherFile | None:
    """CoNLL, if every line is a token with columns behind it."""
    lines = head.split("\n")
    if not is_whole:
        lines.pop()  # cut off
    held = [line.rstrip() for line in lines if line.strip() and not line.startswith("# ")]
    if len(held) < _LEAST_LINES:
        return None
    if all(map(_LABELLED.fullmatch, held)) and _BEGUN.search("\n".join(held)):
        return CONLL
    return CONLL_U if all(map(_TREEBANK.fullmatch, held)) else None
