"""A pre-training run from raw notes to a base encoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import set_seed

from emlb.model.loading import without_bars
from emlb.model.pretrained import LoadedTokenizer, load_tokenizer, resolve_base
from emlb.threads import limit_threads
from emlb.training.precision import AUTOCAST, choose_precision
from emlb_runtime import __version__
from emlb_runtime.errors import ConfigError
from emlb_runtime.formats.tables import NoteColumns
from emlb_runtime.text.tokens import Ints

from .corpus import NoteWindows, hold_out, read_corpus
from .encoder import MaskedEncoder, load_masked_encoder, measure
from .folder import RunFolder
from .masking import Draw, MaskedWindows, Masking, collate
from .options import PretrainingOptions
from .schedule import Schedule
from .trainer import Clock, PretrainingTrainer, last_checkpoint

Say = Callable[[str], None]

_HELD_OUT_EPOCH = 0
"""The masks of held-out windows; epochs of training count from 1."""


def _silent(line: str) -> None:
    """Say nothing."""


def pretrain(
    sources: Sequence[str],
    base: str,
    *,
    out: Path,
    options: PretrainingOptions | None = None,
    columns: NoteColumns | None = None,
    fresh: bool = False,
    say: Say = _silent,
) -> Path:
    """Train an encoder to guess hidden words of clinical notes, or go on with a run.

    Args:
        sources: files, folders and patterns of notes, annotated or not.
        base: folder, hub id, or ``package:NAME/FOLDER`` of an encoder.
        out: folder for the trained encoder; new, or of a run that was cut off.
        options: how to train; the defaults if None.
        columns: which hold the notes of sources that are tables or JSON lines.
        fresh: discard what an earlier run left in the folder.
        say: receives lines for the user; never text of a note.

    Returns:
        The folder: the encoder and its tokenizer, a base for ``emlb train``, and
        ``pretraining.json``.

    Raises:
        ConfigError: if a setting or the base is wrong, or the folder holds something else.
        DataError: if no notes can be read, or too few.
    """
    options = options or PretrainingOptions()
    asked = options
    precision = choose_precision(asked.precision, setting="precision", say=say)
    options = replace(asked, precision=precision)
    limit_threads()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("pre-training runs in one process; start it without torchrun")
    folder = RunFolder(out)
    folder.check(fresh=fresh)
    resolved = resolve_base(base)
    tokenizer = load_tokenizer(resolved)
    masking = Masking.of(tokenizer, options.mask_share)
    set_seed(options.seed)  # of a fresh head
    encoder = load_masked_encoder(resolved)
    longest = encoder.max_pieces
    if longest is not None and options.max_pieces > longest:
        raise ConfigError(f"max_pieces is {options.max_pieces}; the base takes {longest} at most")
    if encoder.fresh_head:
        say("the base has no head for masked words: a new one is trained along")
    notes = _read(sources, tokenizer, options, say, columns)
    settings = {"base": base, "notes": notes.corpus.digest, "options": asdict(asked)}
    folder.claim(settings, fresh=fresh)
    tokenizer.save(out)
    seconds, steps, perplexity = _train(folder, encoder, tokenizer, masking, notes, options, say)
    encoder.save(out)
    folder.finish(
        {
            "emlb": __version__,
            "base": Path(resolved).name if Path(base).expanduser().is_dir() else base,
            "head": "new" if encoder.fresh_head else "the base's",
            "sources": [Path(source).name for source in sources],
            **notes.to_json(),
            "settings": asdict(asked),
            "precision": precision,
            "steps": steps,
            "epochs": round(steps * options.windows_per_update / len(notes.training), 3),
            "seconds": round(seconds),
            "perplexity": perplexity,
        }
    )
    return out


@dataclass(frozen=True)
class _Notes:
    """A corpus divided.

    Attributes:
        corpus: all of it.
        training: indices of the windows to train on.
        held_out: indices of the windows held out.
        n_held_out: notes held out.
    """

    corpus: NoteWindows
    training: Ints
    held_out: Ints
    n_held_out: int

    def to_json(self) -> dict[str, Any]:
        """Counts only."""
        pieces = self.corpus.lengths
        return {
            "notes": {
                "training": self.corpus.n_notes - self.n_held_out,
                "held_out": self.n_held_out,
                "repeated": self.corpus.repeated,
                "not_used": dict(self.corpus.not_used.most_common()),
            },
            "windows": {"training": len(self.training), "held_out": len(self.held_out)},
            "tokens": {
                "training": int(pieces[self.training].sum()),
                "held_out": int(pieces[self.held_out].sum()),
            },
        }


def _read(
    sources: Sequence[str],
    tokenizer: LoadedTokenizer,
    options: PretrainingOptions,
    say: Say,
    columns: NoteColumns | None,
) -> _Notes:
    corpus = read_corpus(
        sources, tokenizer.tokenizer, windows=options.windows, say=say, columns=columns
    )
    train, held_out = hold_out(corpus, share=options.held_out, seed=options.seed)
    notes = _Notes(
        corpus, corpus.windows_of(train), corpus.windows_of(held_out), n_held_out=len(held_out)
    )
    tokens = notes.to_json()["tokens"]
    say(
        f"{len(train):,} notes to train on ({tokens['training']:,} tokens in "
        f"{len(notes.training):,} windows), {len(held_out):,} held out "
        f"({tokens['held_out']:,} tokens)"
    )
    if corpus.repeated:
        say(f"  used once: {corpus.repeated:,} × a text that was there before")
    for reason, count in corpus.not_used.most_common():
        say(f"  not used: {count:,} × {reason}")
    return notes


def _train(
    folder: RunFolder,
    encoder: MaskedEncoder,
    tokenizer: LoadedTokenizer,
    masking: Masking,
    notes: _Notes,
    options: PretrainingOptions,
    say: Say,
) -> tuple[float, int, dict[str, Any] | None]:
    """Train; returns the seconds, the updates, and the perplexities before and after."""
    windows = MaskedWindows(notes.corpus, masking, tokenizer, seed=options.seed)
    checkpoint, spent = last_checkpoint(folder.checkpoints)
    clock = Clock(limit=60 * options.minutes, interval=60 * options.checkpoint_minutes, spent=spent)
    padding = tokenizer.special.pad
    trainer = PretrainingTrainer(
        encoder.model,
        options=options,
        windows=windows,
        schedule=Schedule(
            notes.training,
            notes.corpus.lengths,
            batch_size=options.batch_size,
            total=options.updates(len(notes.training)) * options.windows_per_update,
            seed=options.seed,
        ),
        padding=padding,
        clock=clock,
        checkpoints=folder.checkpoints,
    )
    measured = _measured(notes, options)

    def perplexity() -> dict[str, Any]:
        batches = _batches(windows, measured, options.batch_size, padding)
        return asdict(measure(encoder.model, batches, autocast=AUTOCAST[options.precision]))

    before = folder.before
    if before is None and len(measured):
        folder.before = before = perplexity()
        say(f"perplexity of held-out notes before: {before['value']:.4g}")
    if checkpoint:
        say(f"going on from {checkpoint.name}")
    set_seed(options.seed)  # whether something was measured or not
    with without_bars():  # of every checkpoint; the bar of the training is another
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    steps = int(trainer.state.global_step)
    if not len(measured):
        return clock.seconds, steps, None
    after = perplexity()
    say(
        f"perplexity of held-out notes after {steps:,} steps: {after['value']:.4g} "
        f"(before: {before['value']:.4g})"
    )
    values = {"before": before["value"], "after": after["value"]}
    return clock.seconds, steps, {**values, "windows": len(measured), "hidden": after["pieces"]}


def _measured(notes: _Notes, options: PretrainingOptions) -> Ints:
    """The held-out windows to measure on, longest first."""
    chosen = notes.held_out
    if options.measured and len(chosen) > options.measured:
        rng = np.random.default_rng(options.seed)
        chosen = np.sort(rng.choice(chosen, size=options.measured, replace=False))
    longest_first: Ints = chosen[np.argsort(-notes.corpus.lengths[chosen], kind="stable")]
    return longest_first


def _batches(
    windows: MaskedWindows, chosen: Ints, size: int, padding: int
) -> Iterator[dict[str, Tensor]]:
    for start in range(0, len(chosen), size):
        draws = [Draw(_HELD_OUT_EPOCH, int(index)) for index in chosen[start : start + size]]
        yield collate([windows[draw] for draw in draws], padding=padding)
