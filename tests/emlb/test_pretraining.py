"""Pre-training: what is hidden, that nothing is lost, and runs on the tiny encoder."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModel, BertConfig, BertForMaskedLM, BertTokenizerFast, Trainer

from emlb.model.model import EmlbModel
from emlb.model.pretrained import LoadedTokenizer, load_tokenizer
from emlb.pretraining.corpus import NO_WORDS, NoteWindows, hold_out, read_corpus
from emlb.pretraining.encoder import load_masked_encoder, masked_logits
from emlb.pretraining.masking import IGNORE, Draw, MaskedWindows, Masking, collate
from emlb.pretraining.options import PretrainingOptions
from emlb.pretraining.pretrain import pretrain
from emlb.pretraining.schedule import Schedule
from emlb.pretraining.trainer import Clock
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.tables import NoteColumns
from emlb_runtime.records import Document
from emlb_runtime.schema.task import Task
from emlb_runtime.text.tokens import Ints, tokenise
from emlb_runtime.text.windows import WindowConfig

WINDOWS = WindowConfig(max_pieces=50, overlap=0)
OPTIONS = PretrainingOptions(
    steps=16, batch_size=8, max_pieces=50, held_out=0.2, rate=2e-2, precision="fp32"
)
MARKER = "quinquagesima"


@pytest.fixture(scope="session")
def texts(tiny_documents: Sequence[Document]) -> list[str]:
    """The eight notes, and ten long ones of their sentences."""
    own = [document.note.text for document in tiny_documents]
    return own + ["\n".join(own[i % 8 :] + own[: i % 8]) + f" {i} mg" for i in range(10)]


@pytest.fixture(scope="session")
def notes(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of them as plain text."""
    folder = tmp_path_factory.mktemp("pretraining") / "notes"
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"{number:02}.txt").write_bytes(text.encode())
    return folder


@pytest.fixture(scope="session")
def tokenizer(tiny_encoder: Path) -> LoadedTokenizer:
    """The tiny encoder's."""
    return load_tokenizer(tiny_encoder)


@pytest.fixture(scope="session")
def corpus(notes: Path, tokenizer: LoadedTokenizer) -> NoteWindows:
    """The folder as windows."""
    return read([notes], tokenizer)


@pytest.fixture(scope="session")
def masking(tokenizer: LoadedTokenizer) -> Masking:
    """Of the tiny tokenizer, with the usual share."""
    return Masking.of(tokenizer, 0.15)


@pytest.fixture(scope="session")
def finished(
    notes: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """A run, and what it said; read only."""
    said: list[str] = []
    out = tmp_path_factory.mktemp("finished") / "encoder"
    pretrain([str(notes)], str(tiny_encoder), out=out, options=OPTIONS, say=said.append)
    return out, said


def read(sources: Sequence[Path | str], tokenizer: LoadedTokenizer) -> NoteWindows:
    return read_corpus(
        [str(source) for source in sources],
        tokenizer.tokenizer,
        windows=WINDOWS,
        say=lambda line: None,
    )


def record(folder: Path) -> Any:
    return json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))


@st.composite
def windows(draw: st.DrawFn) -> tuple[Ints, Any]:
    """Pieces of random words, none or some of them special tokens (ids below 5)."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=60))
    ids = draw(
        st.lists(st.integers(0, 40), min_size=sum(lengths), max_size=sum(lengths)).map(np.array)
    )
    begins = np.zeros(sum(lengths), dtype=bool)
    begins[np.cumsum([0, *lengths[:-1]])] = True
    return ids.astype(np.int64), begins


SIMPLE = Masking(4, np.arange(41) < 5, np.arange(5, 41))


@given(windows(), st.integers(0, 1000))
def test_words_are_hidden_whole_and_special_tokens_never(
    window: tuple[Ints, Any], seed: int
) -> None:
    ids, begins = window
    seen, labels = SIMPLE.hide(ids, begins, np.random.default_rng(seed))
    hidden = labels != IGNORE
    assert (labels[hidden] == ids[hidden]).all()
    assert (seen[~hidden] == ids[~hidden]).all()
    assert not (SIMPLE.special[seen] & (seen != SIMPLE.mask))[hidden].any()
    words = np.split(np.arange(len(ids)), np.flatnonzero(begins)[1:])
    special = [SIMPLE.special[ids[word]].any() for word in words]
    for word, barred in zip(words, special, strict=True):
        assert hidden[word].all() if hidden[word].any() else True
        assert not (barred and hidden[word].any())
    assert hidden.any() == (not all(special))
    taken = [len(word) for word in words if hidden[word].any()]
    assert len(taken) <= 1 or sum(taken) <= max(1, round(0.15 * len(ids)))


def test_the_shares_are_those_of_bert() -> None:
    rng = np.random.default_rng(3)
    ids, begins = rng.integers(5, 41, size=400), rng.random(400) < 0.7
    begins[0] = True
    fates: Counter[str] = Counter()
    for _ in range(300):
        seen, labels = SIMPLE.hide(ids, begins, rng)
        hidden = labels != IGNORE
        assert hidden.sum() == 60
        fates["mask"] += int((seen[hidden] == SIMPLE.mask).sum())
        fates["same"] += int((seen[hidden] == ids[hidden]).sum())
        fates["all"] += 60
    assert fates["mask"] / fates["all"] == pytest.approx(0.8, abs=0.01)
    assert fates["same"] / fates["all"] == pytest.approx(0.1 + 0.1 / 36, abs=0.01)


def test_masks_differ_by_epoch_and_seed_and_repeat_otherwise(
    corpus: NoteWindows, masking: Masking, tokenizer: LoadedTokenizer
) -> None:
    first, again, other = (
        MaskedWindows(corpus, masking, tokenizer, seed=seed) for seed in (1, 1, 2)
    )
    window = int(corpus.lengths.argmax())
    ids, labels = first[Draw(1, window)]
    assert (ids == again[Draw(1, window)].ids).all()
    assert (labels == again[Draw(1, window)].labels).all()
    assert (labels != first[Draw(2, window)].labels).any()
    assert (labels != other[Draw(1, window)].labels).any()
    assert (ids[0], ids[-1]) == (tokenizer.special.cls, tokenizer.special.sep)
    assert (labels[[0, -1]] == IGNORE).all() and len(ids) == corpus.lengths[window] + 2


def test_words_are_the_tokenizers(corpus: NoteWindows, tokenizer: LoadedTokenizer) -> None:
    pieces = tokenizer.source.convert_ids_to_tokens(corpus.pieces.tolist())
    assert any(piece.startswith("##") for piece in pieces)
    for piece, begins in zip(pieces, corpus.starts_word, strict=True):
        assert begins != piece.startswith("##")


def test_nothing_is_lost_in_windows(
    corpus: NoteWindows, texts: list[str], tokenizer: LoadedTokenizer
) -> None:
    assert corpus.n_notes == len(texts)
    assert corpus.lengths.max() <= WINDOWS.max_pieces - 2
    assert len(corpus.lengths) > len(texts)
    for number, text in enumerate(texts):
        own = corpus.windows_of(np.array([number]))
        cut = [corpus.pieces[slice(*corpus.bounds[w : w + 2])] for w in own]
        assert np.concatenate(cut).tolist() == tokenise(tokenizer.tokenizer, text).ids.tolist()
    plain = tokenizer.source(texts[0], add_special_tokens=False)["input_ids"]
    assert corpus.pieces[: len(plain)].tolist() == plain


def test_batches_are_padded(
    corpus: NoteWindows, masking: Masking, tokenizer: LoadedTokenizer
) -> None:
    masked = MaskedWindows(corpus, masking, tokenizer, seed=1)
    items = [masked[Draw(1, int(w))] for w in np.argsort(corpus.lengths)[[0, -1]]]
    batch = collate(items, padding=tokenizer.special.pad)
    short = len(items[0].ids)
    assert batch["attention_mask"].sum(1).tolist() == [short, len(items[1].ids)]
    assert (batch["input_ids"][0, short:] == tokenizer.special.pad).all()
    assert (batch["labels"][0, short:] == IGNORE).all()


@pytest.mark.parametrize(("n_windows", "size"), [(1000, 4), (10, 4), (3, 8), (403, 2)])
def test_every_epoch_shows_every_window_once(n_windows: int, size: int) -> None:
    lengths = np.random.default_rng(1).integers(1, 158, size=2 * n_windows)
    chosen = np.arange(n_windows) * 2
    schedule = Schedule(chosen, lengths, batch_size=size, total=3 * n_windows, seed=7)
    draws = list(schedule)
    assert draws == list(schedule) and len(draws) == len(schedule)
    for epoch in (1, 2, 3):
        assert sorted(draw.window for draw in draws if draw.epoch == epoch) == chosen.tolist()
    assert [d.window for d in draws[:n_windows]] != [d.window for d in draws[-n_windows:]]
    part = Schedule(chosen, lengths, batch_size=size, total=n_windows, seed=7)
    assert list(part) == draws[:n_windows]
    if n_windows == 1000:
        batches = np.array([lengths[draw.window] for draw in draws]).reshape(-1, size)
        assert np.ptp(batches, axis=1).mean() < 5


def test_held_out_notes_are_not_trained_on(corpus: NoteWindows) -> None:
    training, held_out = hold_out(corpus, share=0.2, seed=1)
    assert sorted([*training, *held_out]) == list(range(corpus.n_notes))
    assert len(held_out) == round(0.2 * corpus.n_notes)
    both = [*corpus.windows_of(training), *corpus.windows_of(held_out)]
    assert sorted(both) == list(range(len(corpus.lengths)))
    other = hold_out(corpus, share=0.2, seed=2)[1]
    assert set(other) != set(held_out)
    backwards = replace(corpus, digests=corpus.digests[::-1])
    mirrored = hold_out(backwards, share=0.2, seed=1)[1]
    assert {corpus.n_notes - 1 - note for note in mirrored} == set(held_out)
    assert len(hold_out(corpus, share=0, seed=1)[1]) == 0


def test_a_single_note_cannot_be_divided(tmp_path: Path, tokenizer: LoadedTokenizer) -> None:
    (tmp_path / "one.txt").write_text("Fever.")
    with pytest.raises(DataError, match="none would be left to train on"):
        hold_out(read([tmp_path], tokenizer), share=0.1, seed=1)


def test_notes_of_every_format_are_read_and_each_text_once(
    tmp_path: Path, tiny_data: Path, texts: list[str], tokenizer: LoadedTokenizer
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.txt").write_bytes(texts[0].replace(" ", "\r\n").encode() + b"\n")  # again
    (raw / "b.txt").write_bytes(b"\xff\xfe")
    (raw / "c.txt").write_bytes(b" \n")
    (raw / "d.txt").write_bytes(b"No rash.")
    lines = [{"text": "Fever since."}, {"text": texts[1]}, {"note": 1}]
    (tmp_path / "notes.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    table = 'ROW_ID,SUBJECT_ID,TEXT\n1,1,"No fever, no rash."\n2,1,"Fever since."\n3,1\n'
    with gzip.open(tmp_path / "NOTEEVENTS.csv.gz", "wb") as file:
        file.write(table.encode())
    corpus = read(
        [tiny_data, tmp_path / "raw" / "*.txt", tmp_path / "notes.jsonl",
         tmp_path / "NOTEEVENTS.csv.gz"],
        tokenizer,
    )  # fmt: skip
    assert corpus.n_notes == 8 + 3
    assert corpus.repeated == 3
    assert corpus.not_used == {
        reasons.NOT_UTF8: 1, NO_WORDS: 1, reasons.MALFORMED: 1, reasons.WRONG_COLUMNS: 1,
    }  # fmt: skip


def test_tables_of_any_tool_are_read_by_their_columns(
    tmp_path: Path, tokenizer: LoadedTokenizer
) -> None:
    (tmp_path / "a.csv").write_text('visit;note\nv1;"Fever; rash"\nv2;No rash\nv2;Cough\n')
    (tmp_path / "b.jsonl").write_text('{"visit": 1, "note": "Fever."}\n{"visit": 2}\n')
    (tmp_path / "c.txt").write_text("He O\nhas O\npain B-problem\n")
    corpus = read_corpus(
        [str(tmp_path / name) for name in ("a.csv", "b.jsonl", "c.txt")],
        tokenizer.tokenizer,
        windows=OPTIONS.windows,
        say=lambda line: None,
        columns=NoteColumns("note", "visit"),
    )
    assert corpus.n_notes == 3
    assert corpus.not_used == {
        reasons.REPEATED_ROW_ID: 1,
        reasons.EMPTY_TEXT: 1,
        "it is a CoNLL file (a token with its label on each line), not a note": 1,
    }


def test_broken_annotations_cost_no_text(
    tmp_path: Path, tiny_data: Path, tokenizer: LoadedTokenizer
) -> None:
    for file in tiny_data.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    next(tmp_path.glob("*.ann")).write_bytes(b"\xff")
    sorted(tmp_path.glob("*.ann"))[-1].unlink()
    assert read([tmp_path], tokenizer).n_notes == 8


def test_annotations_over_a_table_bring_all_of_its_notes(
    tmp_path: Path, tokenizer: LoadedTokenizer
) -> None:
    (tmp_path / "1.ann").write_text("T1\tDrug 0 7\taspirin\n")
    table = "ROW_ID,SUBJECT_ID,TEXT\n1,1,aspirin daily\n2,1,no rash\n"
    (tmp_path / "NOTEEVENTS.csv").write_text(table)
    assert read([tmp_path], tokenizer).n_notes == 2


@pytest.mark.parametrize("source", ["nothing.txt", "*.jsonl", "table.csv", "empty"])
def test_sources_that_lead_to_nothing(
    tmp_path: Path, tokenizer: LoadedTokenizer, source: str
) -> None:
    (tmp_path / "table.csv").write_text(f"a,b\n1,{MARKER}\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        read([tmp_path / source], tokenizer)
    assert source in str(caught.value) and MARKER not in str(caught.value)


def test_notes_without_words(tmp_path: Path, tokenizer: LoadedTokenizer) -> None:
    (tmp_path / "a.txt").write_bytes(b" \r\n")
    with pytest.raises(DataError, match=f"no note with a word .* 1 × {NO_WORDS}"):
        read([tmp_path], tokenizer)


def test_a_base_without_a_head_gets_one_tied_to_its_embeddings(
    tiny_encoder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded = load_masked_encoder(str(tiny_encoder))
    assert not caplog.text and not "".join(capfd.readouterr())
    model = loaded.model
    assert loaded.fresh_head and loaded.max_pieces == 128
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    own = AutoModel.from_pretrained(tiny_encoder).state_dict()
    for name, weight in model.base_model.state_dict().items():
        assert torch.equal(weight, own[name])


def test_a_base_with_a_head_keeps_it(tmp_path: Path, tiny_encoder: Path) -> None:
    model = BertForMaskedLM(BertConfig.from_pretrained(tiny_encoder))
    torch.nn.init.normal_(model.cls.predictions.bias)
    model.save_pretrained(tmp_path)
    loaded = load_masked_encoder(str(tmp_path))
    assert not loaded.fresh_head
    assert torch.equal(loaded.model.cls.predictions.bias, model.cls.predictions.bias)


def test_the_head_at_hidden_places_gives_the_same_as_everywhere(
    tiny_encoder: Path, corpus: NoteWindows, masking: Masking, tokenizer: LoadedTokenizer
) -> None:
    model = load_masked_encoder(str(tiny_encoder)).model.eval()
    masked = MaskedWindows(corpus, masking, tokenizer, seed=1)
    batch = collate([masked[Draw(1, w)] for w in range(6)], padding=tokenizer.special.pad)
    with torch.no_grad():
        logits, truth = masked_logits(model, batch)
        whole = model(**batch)
    assert functional.cross_entropy(logits, truth).item() == pytest.approx(whole.loss.item())
    assert whole.logits.shape[:2] == batch["labels"].shape  # the hook is gone


def test_perplexity_falls(finished: tuple[Path, list[str]], texts: list[str]) -> None:
    out, said = finished
    kept = record(out)
    assert kept["perplexity"]["after"] < 0.7 * kept["perplexity"]["before"]
    assert kept["perplexity"]["hidden"] > 0
    assert kept["steps"] == 16 and kept["head"] == "new" and kept["sources"] == ["notes"]
    assert kept["notes"] == {
        "training": 14, "held_out": 4, "repeated": 0, "not_used": {},
    }  # fmt: skip
    assert kept["settings"]["steps"] == 16
    assert any("before" in line for line in said)


def test_a_run_leaves_an_encoder_and_no_text_or_path(
    finished: tuple[Path, list[str]], notes: Path, tiny_encoder: Path, texts: list[str]
) -> None:
    out, said = finished
    assert {path.name for path in out.iterdir()} == {*record(out)["files"], "pretraining.json"}
    assert "model.safetensors" in record(out)["files"]
    shown = "".join(said) + "".join(p.read_text("utf-8") for p in out.glob("*config.json"))
    shown += (out / "pretraining.json").read_text(encoding="utf-8")
    assert not [text for text in texts if text in shown]
    assert str(notes.parent) not in shown and str(tiny_encoder.parent) not in shown
    config = BertConfig.from_pretrained(out)
    assert config.attention_probs_dropout_prob == 0.1


def test_the_result_is_a_base_for_training(
    finished: tuple[Path, list[str]], tiny_encoder: Path
) -> None:
    out, _ = finished
    task = Task("notes", ("Drug",), (), ())
    model = EmlbModel.from_base(out, [task], windows=WINDOWS)
    trained = load_file(out / "model.safetensors")
    assert not [name for name in trained if name.startswith(("cls.", "pooler."))]
    own = {name: weight for name, weight in model.encoder.state_dict().items()}
    assert trained.keys() == own.keys()
    assert all(torch.equal(trained[name], own[name]) for name in own)
    base = load_file(tiny_encoder / "model.safetensors")
    assert not torch.equal(base["embeddings.word_embeddings.weight"],
                           trained["embeddings.word_embeddings.weight"])  # fmt: skip
    text = "Takes salbutamol."
    tokenizers = [load_tokenizer(folder).tokenizer for folder in (out, tiny_encoder)]
    first, second = (tokenise(tokenizer, text).ids.tolist() for tokenizer in tokenizers)
    assert first == second


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


@pytest.mark.parametrize("half_written", [False, True])
def test_a_killed_run_goes_on_to_the_same_end(
    finished: tuple[Path, list[str]],
    notes: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    half_written: bool,
) -> None:
    original, written, out = Trainer._save_checkpoint, 0, tmp_path / "encoder"
    options = replace(OPTIONS, checkpoint_minutes=0)

    def save_and_die(self: Trainer, *args: Any, **kwargs: Any) -> None:
        nonlocal written
        original(self, *args, **kwargs)
        written += 1
        if written == 5:
            raise Killed

    monkeypatch.setattr(Trainer, "_save_checkpoint", save_and_die)
    with pytest.raises(Killed):
        pretrain([str(notes)], str(tiny_encoder), out=out, options=options)
    monkeypatch.setattr(Trainer, "_save_checkpoint", original)
    if half_written:
        (out / "checkpoints" / "checkpoint-5" / "trainer_state.json").write_text("{")
    other = replace(options, rate=1e-3)
    with pytest.raises(ConfigError, match=r"other settings \(options\).*--fresh"):
        pretrain([str(notes)], str(tiny_encoder), out=out, options=other)
    said: list[str] = []
    pretrain([str(notes)], str(tiny_encoder), out=out, options=options, say=said.append)
    assert f"going on from checkpoint-{4 if half_written else 5}" in said
    assert record(out)["perplexity"] == record(finished[0])["perplexity"]
    if torch.cuda.is_available():
        return  # sums on a GPU are not repeatable to the last bit
    once, twice = (load_file(folder / "model.safetensors") for folder in (finished[0], out))
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_a_finished_run_is_kept_unless_fresh(
    finished: tuple[Path, list[str]], notes: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="finished run.*--fresh"):
        pretrain([str(notes)], str(tiny_encoder), out=finished[0], options=OPTIONS)
    with pytest.raises(ConfigError, match="no such folder"):  # nor for a mistake
        pretrain([str(notes)], "./nothing", out=finished[0], options=OPTIONS, fresh=True)
    assert (finished[0] / "model.safetensors").exists()
    out = tmp_path / "encoder"
    brief = replace(OPTIONS, steps=1, held_out=0)
    pretrain([str(notes)], str(tiny_encoder), out=out, options=brief)
    assert record(out)["perplexity"] is None
    (out / "mine.md").write_text("kept")
    more = replace(brief, steps=2, gradient_accumulation=2)
    pretrain([str(notes)], str(tiny_encoder), out=out, options=more, fresh=True)
    assert record(out)["steps"] == 2 and (out / "mine.md").exists()


def test_a_folder_with_other_files_is_left_alone(
    notes: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.md").write_text("kept")
    for fresh in (False, True):
        with pytest.raises(ConfigError, match="holds other files"):
            pretrain([str(notes)], str(tiny_encoder), out=tmp_path, options=OPTIONS, fresh=fresh)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.md"]


def test_time_ends_a_run(notes: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=100_000, minutes=0.005, held_out=0)
    pretrain([str(notes)], str(tiny_encoder), out=tmp_path / "e", options=options)
    assert 0 < record(tmp_path / "e")["steps"] < 5000


def test_progress_is_by_updates_or_by_time() -> None:
    assert Clock(limit=0, interval=1, spent=50).progress(3, 12) == 0.25
    assert Clock(limit=100, interval=1, spent=50).progress(3, 12) == 0.5
    assert Clock(limit=100, interval=1, spent=500).progress(3, 12) == 1.0


@pytest.mark.parametrize("base", ["./nothing", "package:no_such_encoder/model", "WRONG", "LAME"])
def test_bad_bases(notes: Path, tmp_path: Path, tiny_encoder: Path, base: str) -> None:
    folder = tmp_path / "base"
    if base in ("WRONG", "LAME"):
        BertTokenizerFast.from_pretrained(tiny_encoder).save_pretrained(folder)
        base = str(folder)
    if base == "LAME":
        (folder / "config.json").write_text('{"model_type": "no such type"}')
    with pytest.raises(ConfigError, match="base|loaded|not installed"):
        pretrain([str(notes)], base, out=tmp_path / "out", options=OPTIONS)
    assert not (tmp_path / "out").exists()


def test_a_base_that_lacks_weights_is_refused(tmp_path: Path, tiny_encoder: Path) -> None:
    model = AutoModel.from_pretrained(tiny_encoder)
    weights = {n: w for n, w in model.state_dict().items() if "layer.1." not in n}
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ConfigError, match="weights of the encoder are missing"):
        load_masked_encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epochs": 0}, "epochs is 0; it must be above 0"),
        ({"held_out": 1.0}, "held_out is 1.0"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"precision": "int8"}, "precision is int8; it must be one of auto, bf16, fp16, fp32"),
        ({"max_pieces": 10}, "max_pieces is 10"),
        ({"minutes": -1.0}, "minutes is -1.0; it must be 0 or more"),
    ],
)
def test_bad_settings(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        PretrainingOptions(**values)


def test_windows_longer_than_the_base_takes(
    notes: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    options = replace(OPTIONS, max_pieces=129)
    with pytest.raises(ConfigError, match="max_pieces is 129; the base takes 128 at most"):
        pretrain([str(notes)], str(tiny_encoder), out=tmp_path / "out", options=options)


def test_no_message_holds_text(
    tmp_path: Path,
    tiny_encoder: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"{MARKER} fever {number}. " * 9)
    (folder / "broken.txt").write_bytes(MARKER.encode() + b"\xff")
    said: list[str] = []
    options = replace(OPTIONS, steps=1, precision="auto")
    out = pretrain([str(folder)], str(tiny_encoder), out=tmp_path / "o", options=options,
                   say=said.append)  # fmt: skip
    shown = [*said, caplog.text, *capfd.readouterr()]
    shown += [path.read_bytes().decode("latin-1") for path in out.iterdir()]
    assert f"  not used: 1 × {reasons.NOT_UTF8}" in said
    assert MARKER not in "".join(shown)
