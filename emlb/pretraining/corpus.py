"""Notes of any format as windows of pieces, in memory; nothing of them is written to disk."""

from __future__ import annotations

import glob
import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emlb.data.formats.detect import FORMATS, detect, scan
from emlb_runtime.errors import DataError
from emlb_runtime.formats.not_notes import recognise
from emlb_runtime.formats.report import why_unreadable
from emlb_runtime.formats.tables import NoteColumns, judge_table
from emlb_runtime.text.tokens import Ints, tokenise
from emlb_runtime.text.windows import WindowConfig, cut_windows

NO_WORDS = "note without words"

# What holds the texts of these, whatever is wrong with the annotations.
_TEXTS_OF = {"brat": "text", "n2c2": "text"}


@dataclass(frozen=True)
class NoteWindows:
    """A corpus: W windows, P pieces, each piece in one window.

    Attributes:
        pieces: (P,) ids of all windows end to end, without special tokens.
        starts_word: (P,) whether a word begins with the piece.
        bounds: (W + 1,) where each window begins; the last value is P.
        first_window: (notes + 1,) each note's first window; the last value is W.
        digests: of each note's text.
        repeated: notes left out because their text was there before.
        not_used: how many notes could not be used, by reason.
    """

    pieces: NDArray[np.int32]
    starts_word: NDArray[np.bool_]
    bounds: Ints
    first_window: Ints
    digests: tuple[bytes, ...]
    repeated: int
    not_used: Counter[str]

    @property
    def n_notes(self) -> int:
        """Notes that have a window."""
        return len(self.digests)

    @property
    def lengths(self) -> Ints:
        """(W,) pieces of each window."""
        return np.diff(self.bounds)

    @property
    def digest(self) -> str:
        """What tells this corpus, in this order, from another."""
        return hashlib.blake2b(b"".join(self.digests), digest_size=16).hexdigest()

    def windows_of(self, notes: Ints) -> Ints:
        """The windows of the notes of these indices, in order."""
        first = self.first_window
        ranges = [np.arange(first[note], first[note + 1]) for note in np.sort(notes)]
        return np.concatenate(ranges) if ranges else np.zeros(0, dtype=np.int64)


def read_corpus(
    sources: Sequence[str],
    tokenizer: Any,
    *,
    windows: WindowConfig,
    say: Callable[[str], None],
    columns: NoteColumns | None = None,
) -> NoteWindows:
    """Read notes one by one and cut them, each text once.

    Texts that differ in white space only count as the same.

    Args:
        sources: files, folders and patterns; see ``read_texts``.
        tokenizer: a ``tokenizers.Tokenizer`` with truncation and padding off.
        windows: how notes are cut; overlap would show pieces twice.
        say: receives what else lies there and is not read.
        columns: of tables that hold notes; see ``read_texts``.

    Raises:
        DataError: if a source leads to nothing, or there is no note with a word.
    """
    pieces, starts_word = array("i"), array("b")
    bounds, first_window = array("q", [0]), array("q", [0])
    seen: dict[bytes, bool] = {}
    not_used: Counter[str] = Counter()
    repeated = 0
    for text in read_texts(sources, not_used, say=say, columns=columns):
        digest = _digest(text)
        if digest in seen:
            repeated += seen[digest]
            not_used[NO_WORDS] += not seen[digest]
            continue
        tokens = tokenise(tokenizer, text)
        seen[digest] = tokens.n_words > 0
        if not tokens.n_words:
            not_used[NO_WORDS] += 1
            continue
        begins = np.zeros(len(tokens.ids), dtype=np.int8)
        begins[tokens.first_piece[:-1]] = 1
        offset = len(pieces)
        pieces.frombytes(tokens.ids.astype(np.intc).tobytes())
        starts_word.frombytes(begins.tobytes())
        for window in cut_windows(tokens, windows):
            bounds.append(offset + int(tokens.first_piece[window.end]))
        first_window.append(len(bounds) - 1)
    if not pieces:
        reasons = "".join(f"; {count} × {reason}" for reason, count in not_used.most_common())
        raise DataError(f"no note with a word in it was found{reasons}")
    return NoteWindows(
        pieces=np.frombuffer(pieces, dtype=np.intc),
        starts_word=np.frombuffer(starts_word, dtype=np.bool_),
        bounds=np.array(bounds, dtype=np.int64),
        first_window=np.array(first_window, dtype=np.int64),
        digests=tuple(digest for digest, has_words in seen.items() if has_words),
        repeated=repeated,
        not_used=not_used,
    )


def read_texts(
    sources: Sequence[str],
    not_used: Counter[str],
    *,
    say: Callable[[str], None],
    columns: NoteColumns | None = None,
) -> Iterator[str]:
    """The texts of notes, one by one.

    Args:
        sources: files (``.txt``, JSON lines, a table of MIMIC's notes), folders of any format
            that ``emlb data inspect`` knows, and patterns of these.
        not_used: counts, by reason, the notes that cannot be read.
        say: receives what else lies in a folder and is not read.
        columns: which hold the notes of a file that is a table, or JSON lines, and has them.

    Raises:
        DataError: if a source leads to nothing that is known.
    """
    for source in sources:
        for path in _paths(source):
            yield from _texts_at(path, not_used, say, columns)


def hold_out(corpus: NoteWindows, *, share: float, seed: int) -> tuple[Ints, Ints]:
    """Divide the notes at random, whatever the order they came in.

    Args:
        corpus: the notes.
        share: of the notes to hold out, one at least; 0 for none.
        seed: of the draw.

    Returns:
        The indices of the notes to train on, and of those held out.

    Raises:
        DataError: if nothing would be left to train on.
    """
    if not share:
        return np.arange(corpus.n_notes), np.zeros(0, dtype=np.int64)
    count = max(1, round(share * corpus.n_notes))
    if count >= corpus.n_notes:
        raise DataError(
            f"with {corpus.n_notes} different notes none would be left to train on: "
            "give more, or hold out a smaller share (0 for none)"
        )
    key = seed.to_bytes(16, "big")
    drawn = [hashlib.blake2b(d, digest_size=16, key=key).digest() for d in corpus.digests]
    order = np.array(sorted(range(corpus.n_notes), key=drawn.__getitem__), dtype=np.int64)
    return np.sort(order[count:]), np.sort(order[:count])


def _paths(source: str) -> list[Path]:
    if Path(source).exists():
        return [Path(source)]
    if glob.has_magic(source):
        if matches := sorted(glob.glob(source, recursive=True)):
            return [Path(match) for match in matches]
        raise DataError(f"{source}: no file matches this pattern")
    raise DataError(f"{source}: there is no such file or folder")


def _texts_at(
    path: Path,
    not_used: Counter[str],
    say: Callable[[str], None],
    columns: NoteColumns | None,
) -> Iterator[str]:
    if columns is not None and path.is_file() and judge_table(path, columns, by_name=True) is True:
        say(f"{path.name}: {FORMATS['table']}")
        yield from _documents(path, "table", not_used, columns)
        return
    if path.is_file() and path.suffix.lower() == ".txt":
        if reason := why_unreadable(path):
            not_used[reason] += 1
            return
        text = path.read_bytes().decode("utf-8", "surrogatepass")
        if no_note := recognise(text):
            not_used[f"it is {no_note.name}, not a note"] += 1
        else:
            yield text
        return
    found = detect(path)
    for other in found.passed_over:
        say(f"{path.name}: not read as well: {other}")
    say(f"{path.name}: {FORMATS[found.format]}")
    if found.format == "mimic":  # the tables hold the annotated notes, and all others
        for file in found.files:
            yield from _documents(file, "noteevents", not_used)
    else:
        yield from _documents(path, _TEXTS_OF.get(found.format, found.format), not_used)


def _documents(
    path: Path, format: str, not_used: Counter[str], columns: NoteColumns | None = None
) -> Iterator[str]:
    for document, report in scan(path, format=format, columns=columns):
        if document is not None:
            yield document.note.text
        elif lost := report.counts.get("documents_lost"):
            not_used[report.problems[0].reason] += lost


def _digest(text: str) -> bytes:
    same = " ".join(text.split()).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(same, digest_size=16).digest()
