"""What of a held-out part also stands in the training part."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from emlb_runtime.records import Document

from .sentences import sentences

LONG_SENTENCE = 60
"""Letters and digits from which a sentence counts as long: shorter ones recur by nature."""


@dataclass(frozen=True)
class Leaks:
    """How many held-out documents the training part gives away.

    Attributes:
        documents: held-out documents.
        same_text: whose whole text stands in training too.
        shared_sentence: of the others, those that share a long sentence with training.
        sentences: the long sentences that they share.
        names: of all of these documents.
    """

    documents: int
    same_text: int
    shared_sentence: int
    sentences: int
    names: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.names)

    def __str__(self) -> str:
        return (
            f"{self.same_text + self.shared_sentence} of {self.documents} documents also stand in "
            f"training: {self.same_text} whole, {self.shared_sentence} by a long sentence "
            f"({self.sentences} sentences)"
        )


def find_leaks(
    training: Iterable[Document], held: Mapping[str, Collection[Document]]
) -> dict[str, Leaks]:
    """Compare texts and long sentences, by their letters and digits alone.

    Args:
        training: the training documents.
        held: parts kept from training, by name.

    Returns:
        Of each part, what it shares with training; false where that is nothing.
    """
    texts: set[bytes] = set()
    long: set[bytes] = set()
    for document in training:
        texts.add(_digest(_plain(document.note.text)))
        long.update(_long_sentences(document.note.text))
    return {part: _compare(documents, texts, long) for part, documents in held.items()}


def _compare(held: Collection[Document], texts: set[bytes], long: set[bytes]) -> Leaks:
    same, sharing, shared = [], [], set[bytes]()
    for document in held:
        if _digest(_plain(document.note.text)) in texts:
            same.append(document.note.name)
        elif common := long & _long_sentences(document.note.text):
            sharing.append(document.note.name)
            shared |= common
    return Leaks(len(held), len(same), len(sharing), len(shared), (*same, *sharing))


def _long_sentences(text: str) -> set[bytes]:
    plain = map(_plain, sentences(text))
    return {_digest(sentence) for sentence in plain if len(sentence) >= LONG_SENTENCE}


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
