"""Short notes whose mentions have attributes, each told by the words around it.

torch is imported inside the functions that train, as in ``tests.tiny``.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from emlb_runtime.formats.brat import read_brat_folder
from emlb_runtime.records import Document, Entity, Note, Relation
from emlb_runtime.schema.attributes import Attribute

from .tiny import build_encoder, write_brat

ASSERTION = Attribute(
    "Assertion",
    ("present", "absent", "possible"),
    "present",
    ("Disorder", "Drug"),
    nonfactual=("absent",),
)
EXPERIENCER = Attribute("Experiencer", ("patient", "other"), "patient", ("Disorder",), ("other",))
ATTRIBUTES = (ASSERTION, EXPERIENCER)

DISORDERS = ("fever", "rash", "back pain", "asthma", "dry cough", "nausea", "bleeding", "migraine")
DRUGS = ("aspirin", "ibuprofen", "metformin", "insulin")
_FRAMES: tuple[tuple[str, dict[str, str]], ...] = (
    ("She has {} today.", {}),
    ("She denies {} today.", {"Assertion": "absent"}),
    ("No {} was seen.", {"Assertion": "absent"}),
    ("Perhaps it is {} after all.", {"Assertion": "possible"}),
    ("Her mother had {} once.", {"Experiencer": "other"}),
    ("Her mother never had {} at all.", {"Assertion": "absent", "Experiencer": "other"}),
)


def make_note(name: str, sentences: list[tuple[str, str, dict[str, str]]]) -> Document:
    """A note of sentences, each a frame with a disorder in it, its attributes, and a drug line."""
    text = ""
    entities: list[Entity] = []
    relations: list[Relation] = []
    note_parts: list[tuple[int, int, str, dict[str, str]]] = []
    for frame, disorder, attributes in sentences:
        before, after = frame.split("{}")
        start = len(text) + len(before)
        note_parts.append((start, start + len(disorder), "Disorder", attributes))
        text += f"{before}{disorder}{after} "
        drug = DRUGS[len(disorder) % len(DRUGS)]
        text += "Given "
        note_parts.append((len(text), len(text) + len(drug), "Drug", {}))
        text += f"{drug} for it.\n"
    note = Note(name, text)
    for number, (start, end, type, attributes) in enumerate(note_parts, start=1):
        entities.append(
            Entity.annotate(note, f"T{number}", type, ((start, end),), attributes=attributes)
        )
    for head, tail in zip(entities[::2], entities[1::2], strict=True):
        relations.append(Relation("Reason-Drug", head.id, tail.id))
    return Document(note, tuple(entities), tuple(relations))


def attributed_notes(
    *, seed: int, n_notes: int, disorders: tuple[str, ...] = DISORDERS
) -> list[Document]:
    """Notes of three sentences, drawn with a seed."""
    draw = random.Random(seed)
    notes = []
    for number in range(n_notes):
        chosen = [(*draw.choice(_FRAMES), draw.choice(disorders)) for _ in range(3)]
        sentences = [(frame, disorder, attributes) for frame, attributes, disorder in chosen]
        notes.append(make_note(f"note-{seed}-{number}", sentences))
    return notes


def write_corpus(folder: Path) -> tuple[Path, Path]:
    """A data folder with brat folders ``train`` and ``dev``, and an untrained encoder."""
    train = attributed_notes(seed=1, n_notes=60)
    dev = attributed_notes(seed=2, n_notes=20)
    data = folder / "data"
    data.mkdir()
    write_brat(train, data / "train")
    write_brat(dev, data / "dev")
    texts = [document.note.text for document in (*train, *dev)]
    return data, build_encoder(folder / "encoder", texts)


def write_config(path: Path, *, encoder: Path, data: Path, output: Path) -> Path:
    """A training configuration with those attributes."""
    attributes = "\n".join(
        f"""[[task.attribute]]
name = "{attribute.name}"
values = {json.dumps(attribute.values)}
default = "{attribute.default}"
entity_types = {json.dumps(attribute.entity_types)}
nonfactual = {json.dumps(attribute.nonfactual)}
"""
        for attribute in ATTRIBUTES
    )
    path.write_text(
        f"""\
name = "attributed"
base = {json.dumps(str(encoder))}
data = {json.dumps(str(data))}
output = {json.dumps(str(output))}

[[task]]
name = "notes"
min_signature = 1

{attributes}
[[corpus]]
name = "notes"
train = "train"
dev = "dev"

[windows]
max_pieces = 64
overlap = 12

[model]
relation_width = 32
relation_heads = 2
attribute_width = 32
head_dropout = 0.0
hidden_dropout = 0.0

[training]
epochs = 20
batch_size = 8
encoder_rate = 1e-3  # faster, and the tiny encoder forgets all words that are no mentions
head_rate = 1e-2
attribute_weight = 5.0
precision = "fp32"
""",
        encoding="utf-8",
    )
    return path


@dataclass(frozen=True)
class AttributedRun:
    """A finished training run.

    Attributes:
        config: the configuration file.
        data: the folder with the brat folders ``train`` and ``dev``.
        encoder: the untrained encoder.
        folder: the run.
    """

    config: Path
    data: Path
    encoder: Path
    folder: Path

    @property
    def dev(self) -> tuple[Document, ...]:
        """The development documents."""
        return tuple(document for document, _ in read_brat_folder(self.data / "dev"))


def train_attributed(folder: Path) -> AttributedRun:
    """Train on the notes."""
    import torch

    from emlb.training.train import train

    torch.set_num_threads(1)
    data, encoder = write_corpus(folder)
    config = write_config(folder / "a.toml", encoder=encoder, data=data, output=folder / "runs")
    return AttributedRun(config, data, encoder, train(config))
