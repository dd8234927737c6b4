"""Notes of any number and length, made of real ones."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from emlb_runtime.formats.notes import find_notes, read_notes
from emlb_runtime.records import ErrorRecord
from emlb_runtime.text.tokens import Tokens

from .report import EnduranceError

HEADER = "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CATEGORY,DESCRIPTION,ISERROR,TEXT\n"

_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s)|$)", re.MULTILINE)
_LETTERS = re.compile(r"[^\W\d_]{2}")


def read_texts(inputs: Sequence[str]) -> list[str]:
    """The notes that the measurements are made of.

    Raises:
        EnduranceError: if one cannot be read, or all are blank.
    """
    texts = []
    for item in read_notes(find_notes(inputs)):
        if isinstance(item, ErrorRecord):
            raise EnduranceError(f"{item.note}: {item.error}")
        texts.append(item.text)
    if not any(map(str.strip, texts)):
        raise EnduranceError("there is no note with any text; give files or folders of .txt files")
    return texts


def spread_lengths(texts: Sequence[str], count: int) -> list[str]:
    """So many notes, short and long ones alike often; repeated if there are fewer.

    However many, the longest is among them: few notes are then no easier than many.
    """
    ranked = sorted(texts, key=len, reverse=True)
    if count >= len(ranked):
        chosen = [ranked[number % len(ranked)] for number in range(count)]
    else:
        chosen = [ranked[number * len(ranked) // count] for number in range(count)]
    random.Random(0).shuffle(chosen)
    return chosen


def short_notes(texts: Sequence[str], count: int) -> Iterator[str]:
    """Two to four successive sentences or lines of notes, so many times.

    Raises:
        EnduranceError: if no note has two.
    """
    found = [[m.span() for m in _SENTENCE.finditer(text)] for text in texts]
    begins = [(note, first) for note, spans in enumerate(found) for first in range(len(spans) - 1)]
    if not begins:
        raise EnduranceError("no note has two sentences or lines: there is nothing to cut")
    rng = random.Random(0)

    def cut() -> Iterator[str]:
        while True:
            note, first = rng.choice(begins)
            last = min(first + rng.randint(2, 4), len(found[note])) - 1
            yield texts[note][found[note][first][0] : found[note][last][1]]

    if not any(_LETTERS.search(text) for text in texts):
        raise EnduranceError("the notes have no words: there is nothing to cut")
    return islice((text for text in cut() if _LETTERS.search(text)), count)


def lay_out(texts: Sequence[str], wanted: int, tokenise: Callable[[str], Tokens]) -> str:
    """Notes one after another, in mixed order and over again, to at least so many pieces.

    Raises:
        EnduranceError: if they hardly have any pieces.
    """
    mixed = list(texts)
    random.Random(0).shuffle(mixed)
    pieces = [len(tokenise(text).ids) for text in mixed]
    if not sum(pieces):
        raise EnduranceError("the notes have no words: there is nothing to lay out")
    rounds, rest = divmod(wanted, sum(pieces))
    count, total = 0, 0
    while total < rest:
        total += pieces[count]
        count += 1
    return "\n\n".join([*(mixed * rounds), *mixed[:count], mixed[0]])


def cut_parts(text: str, tokens: Tokens, *, pieces: int, count: int) -> list[tuple[str, int]]:
    """Parts of a text, from its beginning on, cut between words.

    Args:
        text: is long enough.
        tokens: of it.
        pieces: that each part has, to a word.
        count: how many parts.

    Returns:
        Each with how many pieces it has.
    """
    first = tokens.first_piece
    wanted = np.arange(count + 1) * pieces
    bounds = np.searchsorted(first, wanted).tolist()
    return [
        (text[tokens.start[begin] : tokens.end[end - 1]], int(first[end] - first[begin]))
        for begin, end in zip(bounds, bounds[1:], strict=False)
    ]


def write_folder(folder: Path, texts: Iterator[str]) -> list[str]:
    """Write notes into a new folder, each under a name of its own.

    Returns:
        Their names, as ``emlb-run FOLDER`` calls them.
    """
    folder.mkdir()
    names = []
    for number, text in enumerate(texts):
        path = folder / f"{number:07d}.txt"
        path.write_bytes(text.encode("utf-8"))
        names.append(path.as_posix())
    return names


def write_table(path: Path, texts: Iterator[str]) -> list[str]:
    """Write notes as a table like NOTEEVENTS.

    Returns:
        Their names, as ``emlb-run`` calls them.
    """
    names = []
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write(HEADER)
        for number, text in enumerate(texts, start=1):
            quoted = text.replace('"', '""')
            out.write(f'{number},{number},{number},2150-01-01,Nursing,Report,,"{quoted}"\n')
            names.append(str(number))
    return names
