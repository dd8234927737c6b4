"""A training run from configuration file to model folder."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from emlb.data.corpora import Corpus, derive_task, load_corpus
from emlb.data.leaks import find_leaks
from emlb.evaluation.pipeline_scores import ScoredCorpus
from emlb.examples.coverage import Coverage
from emlb.examples.examples import Example, ExampleSet, Supervision, make_examples
from emlb.examples.packing import pack
from emlb.model.model import EmlbModel
from emlb.model.pretrained import TrainedModel, make_pipeline
from emlb.recipes import find_recipe
from emlb.threads import limit_threads
from emlb_runtime.errors import ConfigError
from emlb_runtime.records import Document
from emlb_runtime.schema.task import Task

from .checkpoints import whole_checkpoints
from .config import RunConfig, load_config, recorded_config
from .development import as_scored, score_development
from .distillation.hard_labels import distil
from .distillation.soft_targets import distil_softly
from .precision import AUTOCAST, choose_precision
from .progress import above_the_bar
from .raw_notes import RawNotes
from .schedule import Patience
from .trainer import JointTrainer
from .warm_start.origin import Origin, open_origin

Say = Callable[[str], None]


def _silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Prepared:
    """Everything that training needs, in memory."""

    tasks: list[Task]
    corpora: list[tuple[Corpus, Supervision]]
    scored: list[ScoredCorpus]
    examples: list[Example]
    unused: dict[str, dict[str, int]]


def train(
    config_path: Path, *, overrides: Sequence[str] = (), fresh: bool = False, say: Say = _silent
) -> Path:
    """Train as a configuration says, or go on with a run that was cut off.

    Args:
        config_path: a TOML file, or the name of a recipe that comes with EMLB.
        overrides: ``section.key=value``.
        fresh: discard what an earlier run of this name left.
        say: receives lines for the user.

    Returns:
        The run's folder: ``model/``, ``splits.json`` and ``run.json``.

    Raises:
        ConfigError: if a setting is wrong, or the folder holds a finished or another run.
        DataError: if a corpus cannot be read.
    """
    config = load_config(find_recipe(config_path), overrides)
    if config.training.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("training.tensorboard is set, but tensorboard is not installed")
    precision = choose_precision(config.training.precision, setting="training.precision", say=say)
    limit_threads()
    folder = config.folder
    trained_as = replace(config, training=replace(config.training, precision=precision))
    origin = open_origin(config, say)  # a bad start or base leaves no folder behind
    checkpoint = _claim(config, trained_as, fresh=fresh)
    set_seed(config.seed)
    tokenizer = origin.tokenizer
    prepared, model = prepare(config, origin, say, autocast=AUTOCAST[precision])
    few = [
        replace(corpus, documents=corpus.documents[: source.config.dev_limit or None])
        for corpus, (source, _) in zip(prepared.scored, prepared.corpora, strict=True)
    ]

    learned, tell = config.training.learned, above_the_bar(say)

    def score(current: EmlbModel) -> dict[str, float]:
        scores = score_development(
            current, tokenizer, prepared.tasks, few, learned=learned, autocast=AUTOCAST[precision]
        )
        tell(scores.table())
        return scores.logged

    started = time.monotonic()
    trainer = JointTrainer(
        model,
        config=trained_as,
        examples=ExampleSet(prepared.examples),
        special=tokenizer.special,
        scorer=score,
        checkpoints=str(folder / "checkpoints"),
        say=tell,
        callbacks=[Patience(config.training.patience)] if config.training.patience else [],
    )
    if checkpoint:
        say(f"going on from {checkpoint}")
    trainer.train(resume_from_checkpoint=checkpoint)
    final = score_development(model, tokenizer, prepared.tasks, prepared.scored, learned=learned)
    say(final.table())
    model.config.tasks = [task.to_json() for task in final.tasks]
    TrainedModel(model, tokenizer).save(folder / "model")
    _write_json(
        folder / "run.json",
        {
            "config": asdict(config),
            "precision": precision,
            "started_from": origin.describe(),
            "development": final.metrics,
            "measures": final.measures,
            "documents": {c.config.name: len(c.split.train) for c, _ in prepared.corpora},
            "windows": len(prepared.examples),
            "unused": prepared.unused,
            "steps": trainer.state.global_step,
            "seconds": round(time.monotonic() - started),
        },
    )
    return folder


def _claim(config: RunConfig, trained_as: RunConfig, *, fresh: bool) -> str | None:
    """Take the run's folder; the checkpoint to go on from, if there is one.

    The configuration is kept beside the checkpoints: another one must not go on with them. One
    that names the precision which ``auto`` is here (``trained_as``) is the same.
    """
    folder, record = config.folder, json.loads(json.dumps(asdict(config)))
    if fresh and folder.exists():
        shutil.rmtree(folder)
    if (folder / "run.json").exists():
        raise ConfigError(f"{folder} holds a finished run; choose another name or use --fresh")
    kept = folder / "config.json"
    values = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else record
    if not (_is_of(config, values) or _is_of(trained_as, values)):
        raise ConfigError(
            f"{folder} holds a run with other settings; choose another name or use --fresh"
        )
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    _write_json(kept, record)
    return next((str(path) for path, _ in whole_checkpoints(folder / "checkpoints")), None)


def _is_of(config: RunConfig, kept: dict[str, Any]) -> bool:
    """Whether a run's record is of these settings; what it lacks had its default then."""
    try:
        return recorded_config(kept) == config
    except ConfigError:  # of another version of EMLB
        return False


def prepare(
    config: RunConfig,
    origin: Origin,
    say: Say,
    *,
    autocast: torch.dtype | None = None,
) -> tuple[Prepared, EmlbModel]:
    """Read the corpora, derive the tasks, build the model and the training windows.

    Teachers of a distillation compute in ``autocast``, if any.
    """
    loaded = [load_corpus(c, Path(config.data), seed=config.seed) for c in config.corpus]
    by_task = {
        task.name: [c for c in loaded if (c.config.task or config.task[0].name) == task.name]
        for task in config.task
    }
    _warn_of_leaks(loaded, say)
    tokenizer = origin.tokenizer
    tasks = [derive_task(task, by_task[task.name], tokenizer.tokenizer) for task in config.task]
    tasks = origin.extend(tasks)
    model = origin.build(tasks, config, say)
    pipeline = make_pipeline(model, tokenizer)
    corpora: list[tuple[Corpus, Supervision]] = []
    examples: list[Example] = []
    unused: dict[str, dict[str, int]] = {}
    for task in tasks:
        for corpus in by_task[task.name]:
            supervision = Supervision(
                task,
                Coverage.of(task, corpus.config.full, corpus.config.part),
                relation_weight=corpus.config.relation_weight,
                partial_negatives=config.training.partial_negatives,
            )
            counts: Counter[str] = corpus.report.summary() + corpus.left_out
            for repeat in range(corpus.config.repeat):
                documents: Sequence[Document] = corpus.split.train
                if corpus.config.pack:
                    documents = pack(documents, seed=config.seed + repeat)
                once = counts if repeat == 0 else Counter()
                examples += make_examples(documents, supervision, pipeline, once)
            corpora.append((corpus, supervision))
            unused[corpus.config.name] = dict(counts)
            _announce(corpus, supervision, counts, say)
    if config.distillation.teachers:
        raw = RawNotes(
            data=Path(config.data),
            held=[d for corpus in loaded for d in (*corpus.split.dev, *corpus.split.test)],
            annotated=[d for corpus in loaded for d in corpus.split.train],
            seed=config.seed,
        )
        if config.distillation.targets == "soft":
            cache = config.folder / "soft_targets.safetensors"
            examples = distil_softly(
                config.distillation,
                tasks,
                pipeline,
                examples,
                raw=raw,
                cache=cache,
                say=say,
                autocast=autocast,
            )
        else:
            examples += distil(
                config.distillation, tasks, pipeline, tokenizer, raw=raw, say=say, autocast=autocast
            )
    scored = [as_scored(corpus, supervision.task) for corpus, supervision in corpora]
    _write_json(
        config.folder / "splits.json",
        {corpus.config.name: corpus.split.names() for corpus, _ in corpora},
    )
    say(f"{len(examples)} windows; tasks: {', '.join(task.name for task in tasks)}")
    return Prepared(tasks, corpora, scored, examples, unused), model


def never_marked(corpus: Corpus, supervision: Supervision) -> list[str]:
    """Attributes that a corpus is said to annotate in full and that no mention of it has."""
    stated = {
        name
        for document in corpus.split.train
        for entity in document.entities
        for name in entity.attributes
    }
    return sorted({name for name, _, _ in supervision.coverage.marked} - stated)


def _announce(corpus: Corpus, supervision: Supervision, unused: Counter[str], say: Say) -> None:
    split = corpus.split
    say(
        f"{corpus.config.name}: {len(split.train)} training, {len(split.dev)} development, "
        f"{len(split.test)} test documents"
    )
    for reason, count in unused.most_common():
        say(f"  not used: {count} × {reason}")
    for name in never_marked(corpus, supervision):
        say(
            f"  warning: no mention is marked with {name}, so every one counts as the default; if "
            "the corpus does not annotate it, leave it out of full"
        )
    for reason, count in corpus.report.remarked().most_common():
        say(f"  used, with a remark: {count} × {reason}")


def _warn_of_leaks(corpora: Sequence[Corpus], say: Say) -> None:
    """Say which held-out documents stand in the training part of any corpus."""
    held = {
        f"{corpus.config.name}, {part}": documents
        for corpus in corpora
        for part, documents in (("development", corpus.split.dev), ("test", corpus.split.test))
    }
    training = (document for corpus in corpora for document in corpus.split.train)
    for part, leaks in find_leaks(training, held).items():
        if leaks:
            say(f"warning: {part}: {leaks}")


def _write_json(path: Path, values: Any) -> None:
    text = json.dumps(values, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
