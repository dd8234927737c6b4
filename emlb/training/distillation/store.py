"""Soft targets on disk: numbers in a safetensors file, and no text of any note.

The file knows which question it answers by a digest of the teachers, what they compute
in, the temperature and the texts, so that a run that goes on does not ask the teachers again, and
another run does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, file_digest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from emlb.model.pretrained import model_folder
from emlb_runtime.errors import ArtefactError
from emlb_runtime.formats.files.atomic import replace_file
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.schema.task import Task


@dataclass(frozen=True)
class Stored:
    """The teachers' answer on one window.

    Attributes:
        labels: (W, E) mean marginals.
        pairs: (P, 2) head and tail mention.
        relations: (P, R) mean probabilities.
        attributes: (S, V) mean probabilities of the attribute values of the window's mentions;
            zeros where no teacher has any. Without mentions of a task with attributes (0, 0).
    """

    labels: NDArray[np.float16]
    pairs: NDArray[np.int64]
    relations: NDArray[np.float16]
    attributes: NDArray[np.float16] = field(default_factory=lambda: np.zeros((0, 0), np.float16))


def fingerprint(
    teachers: Sequence[Path],
    temperature: float,
    task: Task,
    asked: Iterable[tuple[str, tuple[WordSpan, ...] | None]],
    *,
    autocast: str = "None",
) -> str:
    """A digest of everything that the targets depend on.

    Args:
        teachers: their run or model folders.
        temperature: of the targets.
        task: the student's.
        asked: the text and the annotated mentions of each window.
        autocast: what the teachers' encoders compute in.

    Raises:
        ArtefactError: if a teacher's folder is not a model folder.
    """
    digest = blake2b(digest_size=16)

    def add(part: bytes) -> None:
        digest.update(len(part).to_bytes(8, "big"))  # so that no two lists of parts run together
        digest.update(part)

    add(repr((temperature, autocast, task.to_json())).encode())
    for folder in teachers:
        model = model_folder(folder)
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            try:
                with (model / name).open("rb") as file:
                    add(file_digest(file, blake2b).digest())
            except FileNotFoundError:
                raise ArtefactError(f"{folder}: not a trained model, {name} is missing") from None
    for text, mentions in asked:
        add(text.encode("utf-8", "surrogatepass"))
        add(repr(mentions).encode())
    return digest.hexdigest()


def save_targets(path: Path, question: str, targets: Sequence[Stored]) -> None:
    """Write targets; a file that is there is replaced when the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    described = [item.attributes for item in targets if item.attributes.size]
    data = save(
        {
            "words": np.array([len(item.labels) for item in targets], dtype=np.int64),
            "pairs": np.array([len(item.pairs) for item in targets], dtype=np.int64),
            "labels": np.concatenate([item.labels for item in targets]),
            "joined": np.concatenate([item.pairs for item in targets]),
            "relations": np.concatenate([item.relations for item in targets]),
            "mentions": np.array(
                [len(item.attributes) if item.attributes.size else 0 for item in targets],
                dtype=np.int64,
            ),
            "attributes": (
                np.concatenate(described) if described else np.zeros((0, 0), np.float16)
            ),
        },
        metadata={"question": question},
    )
    replace_file(path, data)


def load_targets(path: Path, question: str) -> list[Stored] | None:
    """Targets that were written for this question; None if there are none."""
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("question") != question:
                return None
            names = ("words", "pairs", "labels", "joined", "relations", "mentions", "attributes")
            words, pairs, labels, joined, relations, mentions, attributes = map(
                file.get_tensor, names
            )
    except (FileNotFoundError, SafetensorError):
        return None
    ends = np.cumsum(pairs)[:-1]
    return [
        Stored(*parts)
        for parts in zip(
            np.split(labels, np.cumsum(words)[:-1]),
            np.split(joined, ends),
            np.split(relations, ends),
            np.split(attributes, np.cumsum(mentions)[:-1]),
            strict=True,
        )
    ]
