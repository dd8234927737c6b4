"""Eight short annotated notes, and a tiny seeded encoder and model trained on them.

torch and transformers are imported inside the functions, so that the tests of the light
packages can share this module too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emlb_runtime.formats.writers import open_writer
from emlb_runtime.records import Document, Entity, Fragment, Note, Relation
from emlb_runtime.text.windows import WindowConfig

MARKUP = {
    "case": "[Drug:d1 Amoxicillin] caused [Disorder:e1 a rash] on day three. {ADE-Drug e1 d1}",
    "stopped": (
        "No [Disorder:e1 fever]; [Drug:d1 ibuprofen] for [Disorder:e2 back pain] was stopped."
        " {Treats d1 e2}"
    ),
    "clinic": (
        "[Disorder:e1 Hypertension], treated with [Drug:d1 lisinopril];"
        " [Disorder:e2 dry cough] since. {Treats d1 e1} {ADE-Drug e2 d1}"
    ),
    "line ends": (
        "Started [Drug:d1 metformin] and [Drug:d2 insulin] for [Disorder:e1 type 2 diabetes]."
        "\r\nPlan:\tcontinue. {Treats d1 e1} {Treats d2 e1}"
    ),
    "signs": (
        "β-blocker [Drug:d1 metoprolol] 25 mg 😀 → [Disorder:e1 bradycardia];"
        " [Disorder:e2 naïve lymphoma] stable. {ADE-Drug e1 d1}"
    ),
    "long": (
        "Seen in clinic for a yearly review of [Disorder:e1 asthma]. She feels well, walks two"
        " miles, sleeps through the night, and has no complaints. Chest clear, heart sounds"
        " normal, abdomen soft. Takes [Drug:d1 salbutamol] when needed. She was told to come"
        " back in a year, or before if she feels worse. On [Drug:d2 prednisolone] last winter"
        " she had [Disorder:e2 insomnia] and [Disorder:e3 weight gain]. Lives with her husband."
        " {ADE-Drug e2 d2} {ADE-Drug e3 d2}"
    ),
    "history": "Family history without disease. No known allergies.",
    "list": (
        "- [Drug:d1 aspirin] 75 mg\n- [Drug:d2 warfarin] 3 mg\nAdmitted with"
        " [Disorder:e1 gastric bleeding] on [Drug:d3 aspirin]. {ADE-Drug e1 d3}"
    ),
}
"""Line ends of both kinds, characters beyond the first plane, an unannotated note, and a note
of more than one window."""

TYPES = ("Disorder", "Drug")
RELATIONS = ("ADE-Drug", "Treats")
WINDOWS = WindowConfig(max_pieces=64, overlap=12)

_TAG = re.compile(r"\[(?P<type>[A-Za-z-]+):(?P<id>\w+) |[\[\]}]")
_LINK = re.compile(r"\{(?P<type>[A-Za-z-]+) (?P<head>\w+) (?P<tail>\w+)\}\s*")


class MarkupError(ValueError):
    """Marked-up text is malformed: a test that used it would assert something else."""


def parse_markup(markup: str, *, name: str = "note") -> Document:
    """A document of marked-up text.

    ``[Type:id words]`` is a mention; mentions may nest, and an id used twice makes one
    mention of two fragments. ``{Type head tail}`` after the text is a relation.

    Raises:
        MarkupError: if anything is unclosed, empty, repeated or unknown.
    """
    body, brace, links = markup.partition("{")
    text, spans, types = _text_and_spans(body.rstrip(" ") if brace else body)
    note = Note(name, text)
    try:
        entities = [
            Entity.annotate(note, id, types[id], tuple(sorted(fragments)))
            for id, fragments in spans.items()
        ]
    except ValueError as error:
        raise MarkupError(str(error)) from None
    entities.sort(key=lambda entity: (entity.start, entity.end))
    return Document(note, tuple(entities), _relations(brace + links, set(spans)))


def _text_and_spans(body: str) -> tuple[str, dict[str, list[Fragment]], dict[str, str]]:
    text, position = "", 0
    open_tags: list[tuple[str, int]] = []
    spans: dict[str, list[Fragment]] = {}
    types: dict[str, str] = {}
    for tag in _TAG.finditer(body):
        text += body[position : tag.start()]
        position = tag.end()
        if id := tag["id"]:
            if types.setdefault(id, tag["type"]) != tag["type"]:
                raise MarkupError(f"{id} has two types")
            open_tags.append((id, len(text)))
        elif tag[0] == "]" and open_tags:
            id, start = open_tags.pop()
            if not text[start:] or text[start:] != text[start:].strip():
                raise MarkupError(f"{id} is empty or has space at its ends")
            spans.setdefault(id, []).append((start, len(text)))
        else:
            raise MarkupError(f"stray {tag[0]!r} at character {tag.start()}")
    if open_tags:
        raise MarkupError(f"{open_tags[-1][0]} is not closed")
    return text + body[position:], spans, types


def _relations(links: str, ids: set[str]) -> tuple[Relation, ...]:
    relations: list[Relation] = []
    position = 0
    while position < len(links):
        link = _LINK.match(links, position)
        if link is None:
            raise MarkupError("what follows the text is not a list of {Type head tail}")
        if not {link["head"], link["tail"]} <= ids or link["head"] == link["tail"]:
            raise MarkupError(f"{link[0].strip()} does not join two mentions of the text")
        relations.append(Relation(link["type"], link["head"], link["tail"]))
        position = link.end()
    if len(set(relations)) < len(relations):
        raise MarkupError("a relation is given twice")
    return tuple(relations)


def tiny_notes() -> tuple[Document, ...]:
    """The eight notes."""
    return tuple(parse_markup(markup, name=name) for name, markup in MARKUP.items())


def write_brat(documents: Sequence[Document], folder: Path) -> Path:
    """Write documents as a brat folder; returns the folder."""
    with open_writer("brat", folder) as writer:
        for document in documents:
            writer.write(document)
    return folder


def build_encoder(folder: Path, texts: Sequence[str]) -> Path:
    """Write a BERT of two layers, 32 wide, and its lower-casing WordPiece tokenizer.

    Long words of the texts are two pieces; letters that they lack are unknown pieces.
    """
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    pieces = {word[:6] for word in words} | {f"##{word[6:]}" for word in words if word[6:]}
    letters = {letter for word in words for letter in word}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *sorted(pieces | letters | {f"##{letter}" for letter in letters})]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary_file = folder / "vocab.txt"
    vocabulary_file.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizerFast.from_pretrained(folder, do_lower_case=True).save_pretrained(folder)
    torch.manual_seed(13)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.1,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def write_config(path: Path, *, encoder: Path, data: Path, output: Path) -> Path:
    """Write a training configuration that overfits the notes of a brat folder."""
    path.write_text(
        f"""\
name = "tiny"
base = {json.dumps(str(encoder))}
data = {json.dumps(str(data.parent))}
output = {json.dumps(str(output))}

[[task]]
name = "notes"
min_signature = 1

[[corpus]]
name = "notes"
train = {json.dumps(data.name)}
dev = {json.dumps(data.name)}
repeat = 10

[windows]
max_pieces = {WINDOWS.max_pieces}
overlap = {WINDOWS.overlap}

[model]
relation_width = 32
relation_heads = 2
head_dropout = 0.0
hidden_dropout = 0.0

[training]
epochs = 10
batch_size = 8
encoder_rate = 3e-3
head_rate = 1e-2
precision = "fp32"
""",
        encoding="utf-8",
    )
    return path


@dataclass(frozen=True)
class TinyRun:
    """A finished training run on the eight notes.

    Attributes:
        config: the configuration file.
        data: the brat folder of the notes.
        documents: the notes as read from it.
        encoder: the untrained encoder.
        folder: the run.
        said: what the run told the user.
    """

    config: Path
    data: Path
    documents: tuple[Document, ...]
    encoder: Path
    folder: Path
    said: tuple[str, ...]

    @property
    def model(self) -> Path:
        """The model folder, as ``TrainedModel.load`` takes it."""
        return self.folder / "model"


def train_tiny(folder: Path, *, encoder: Path, data: Path) -> TinyRun:
    """Train the tiny model on the notes of a brat folder."""
    import torch

    from emlb.training.train import train
    from emlb_runtime.formats.brat import read_brat_folder

    torch.set_num_threads(1)
    config = write_config(folder / "tiny.toml", encoder=encoder, data=data, output=folder / "runs")
    said: list[str] = []
    run = train(config, say=said.append)
    documents = tuple(document for document, _ in read_brat_folder(data))
    return TinyRun(config, data, documents, encoder, run, tuple(said))
