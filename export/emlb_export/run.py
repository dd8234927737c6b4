"""Exporting a trained model: graphs, verification, bundle, card; all or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from safetensors.numpy import save_file

from emlb.evaluation.run import evaluate
from emlb.model.pretrained import TrainedModel
from emlb_runtime import __version__
from emlb_runtime.bundle import CONFIG_NAME, Bundle, BundleConfig
from emlb_runtime.errors import ArtefactError, ConfigError, DataError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.formats.text import NoteFile, find_notes, read_notes
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Note

from .card import Checks, render_card
from .notes import NOTES
from .onnx import export_encoder, export_relations
from .quantize import quantize as write_int8
from .verify import check_decoded, check_tensors, compare_decoded, compare_tensors

CARD_NAME = "README.md"
FP32_NAME, INT8_NAME = "encoder.onnx", "encoder_int8.onnx"
Say = Callable[[str], None]


def _silent(line: str) -> None:
    """Say nothing."""


def export(
    model: Path | None = None,
    *,
    out: Path | None = None,
    quantize: bool = False,
    int8_only: bool = False,
    name: str | None = None,
    version: str | None = None,
    notes: Path | None = None,
    eval_data: Path | None = None,
    overwrite: bool = False,
    say: Say = _silent,
) -> Path:
    """Write the bundle of a trained model, once it has been verified.

    Args:
        model: a run's folder or its ``model`` folder; None is the last finished run below
            ``runs``.
        out: the bundle's folder; None is ``bundle`` beside the model.
        quantize: add an int8 encoder, which is then the default.
        int8_only: leave the fp32 encoder out.
        name: of the model; None keeps the run's.
        version: of the model; None is EMLB's own.
        notes: folder or file of notes on which both must decode alike; None takes a few
            that come with EMLB.
        eval_data: annotated data to score every precision on, for the card.
        overwrite: replace a bundle that is there.
        say: receives lines for the user.

    Returns:
        The bundle's folder.

    Raises:
        ConfigError: if there is no model, or a bundle is there already.
        ArtefactError: if the exported networks do not agree with the model; nothing is
            written to ``out`` then.
    """
    folder = find_model(model)
    target = out or folder.parent / "bundle"
    if target.exists() and not overwrite:
        raise ConfigError(f"{target} is there already; choose another --out or use --overwrite")
    if target.exists() and not (target / CONFIG_NAME).is_file():
        raise ConfigError(f"{target} is not a bundle: --overwrite does not replace it")
    read = list(NOTES) + (_read_notes(notes) if notes else [])
    trained = TrainedModel.load(folder)
    run = _read_run(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        config = _write_networks(trained, scratch, run, name=name, version=version)
        _write_config(scratch, config)
        checks = _verify(trained, Bundle(scratch, config), read, say)
        if quantize or int8_only:
            write_int8(scratch / FP32_NAME, scratch / "raw.onnx")
            _optimise(scratch / "raw.onnx", scratch / INT8_NAME)
            config = _seal(
                scratch,
                replace(
                    config,
                    encoders={**config.encoders, "int8": INT8_NAME},
                    default_precision="int8",
                ),
            )
            bundle = Bundle(scratch, config)
            fp32 = load_pipeline(bundle, precision="fp32")
            agreement = compare_decoded(fp32, load_pipeline(bundle, precision="int8"), read)
            checks = replace(checks, quantized=agreement)
            say(
                f"int8 against fp32 on {len(read)} notes: F1 {agreement.entity_f1:.4f} of "
                f"entities, {agreement.relation_f1:.4f} of relations"
            )
        tables, reliability = _tables(scratch, config, eval_data)
        if int8_only:
            (scratch / FP32_NAME).unlink()
            config = replace(config, encoders={"int8": INT8_NAME})
        card = render_card(config, checks, tables, reliability)
        (scratch / CARD_NAME).write_text(card, encoding="utf-8")
        _write_config(scratch, _seal(scratch, config))
        Bundle.load(scratch).verify()
        _put_in_place(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def find_model(model: Path | None) -> Path:
    """The model folder that is meant.

    Raises:
        ConfigError: if there is none.
    """
    if model is None:
        finished = sorted(Path("runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
        if not finished:
            raise ConfigError("no finished run below runs/; name the model's folder")
        return finished[-1].parent / "model"
    if (model / "model" / "config.json").is_file():
        return model / "model"
    if (model / "config.json").is_file():
        return model
    raise ConfigError(f"{model}: no trained model there (a folder with config.json)")


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder.parent / "run.json"
    if not path.is_file():
        return {}
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _read_notes(path: Path) -> list[Note]:
    files = find_notes([str(path)])
    read = list(read_notes(files, encoding="utf-8", errors="strict"))
    if not any(isinstance(file, NoteFile) for file in files):
        raise DataError(f"{path}: no note to verify on")
    bad = [item for item in read if not isinstance(item, Note)]
    if bad:
        raise DataError(f"{bad[0].note}: {bad[0].error}")
    return [item for item in read if isinstance(item, Note)]


def _write_networks(
    trained: TrainedModel,
    scratch: Path,
    run: dict[str, Any],
    *,
    name: str | None,
    version: str | None,
) -> BundleConfig:
    """Graphs, CRF and tokenizer into the scratch folder."""
    model, tasks = trained.model, trained.model.config.task_list
    export_encoder(model, scratch / "raw.onnx")
    _optimise(scratch / "raw.onnx", scratch / FP32_NAME)
    relations: dict[str, str] = {}
    for task in tasks:
        if task.relation_types:
            relations[task.name] = f"relations_{task.name}.onnx"
            export_relations(model, task.name, scratch / "raw.onnx")
            _optimise(scratch / "raw.onnx", scratch / relations[task.name])
    crf: dict[str, np.ndarray] = {}
    for task in tasks:
        scores = model.head(task.name).crf.deployed()
        crf |= {
            f"{task.name}.start": scores.start,
            f"{task.name}.end": scores.end,
            f"{task.name}.transitions": scores.transitions,
        }
    save_file(crf, scratch / "crf.safetensors")
    trained.tokenizer.tokenizer.save(str(scratch / "tokenizer.json"), pretty=False)
    settings = run.get("config", {})
    config = BundleConfig(
        name=name or settings.get("name") or "model",
        version=version or __version__,
        description=settings.get("description", ""),
        tasks=tuple(tasks),
        windows=model.config.window_config,
        special=replace(trained.tokenizer.special, mask=None),
        encoders={"fp32": FP32_NAME},
        default_precision="fp32",
        relations=relations,
        crf="crf.safetensors",
        tokenizer="tokenizer.json",
        files={},
        width=int(model.config.encoder_config.hidden_size),
        provenance=_provenance(run),
        scores={"development": run.get("development", {})},
    )
    return _seal(scratch, config)


def _provenance(run: dict[str, Any]) -> dict[str, Any]:
    settings = run.get("config", {})
    if not settings:
        return {"emlb": __version__}
    sizes, base = run.get("documents", {}), str(settings["base"])
    return {
        "emlb": __version__,
        "base": Path(base).name if base.startswith(("/", ".", "~")) else base,  # no local path
        "seed": settings["seed"],
        "epochs": settings["training"]["epochs"],
        "steps": run.get("steps"),
        "corpora": [
            {
                "name": corpus["name"],
                "documents": sizes.get(corpus["name"]),
                "repeat": corpus["repeat"],
            }
            for corpus in settings["corpus"]
        ],
        **_distillation(settings.get("distillation", {})),
    }


def _distillation(settings: dict[str, Any]) -> dict[str, Any]:
    """What models taught this one, and on which notes; by name, without paths."""
    if not settings.get("teachers"):
        return {}
    return {
        "distillation": {
            "teachers": [Path(teacher).name for teacher in settings["teachers"]],
            "notes": settings["notes"],
            "windows": settings["windows"],
        }
    }


def _optimise(source: Path, target: Path) -> None:
    """Fuse and fold with ONNX Runtime now, so that sessions need not do it at every start.

    The source is deleted: a bundle holds the optimised graph alone.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    source.unlink()


def _seal(folder: Path, config: BundleConfig) -> BundleConfig:
    """The configuration with size and hash of every file now in the folder."""
    files = {
        path.name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
        if path.name != CONFIG_NAME
    }
    return replace(config, files=files)


def _write_config(folder: Path, config: BundleConfig) -> None:
    text = json.dumps(config.to_json(), indent=1, ensure_ascii=False)
    (folder / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")


def _verify(trained: TrainedModel, bundle: Bundle, notes: Sequence[Note], say: Say) -> Checks:
    torch_pipeline: Pipeline = trained.pipeline(batch=1)
    onnx_pipeline = load_pipeline(bundle, precision="fp32")
    tensors = compare_tensors(
        torch_pipeline.backend,
        onnx_pipeline.backend,
        bundle.config.tasks,
        vocabulary=trained.tokenizer.tokenizer.get_vocab_size(),
        max_pieces=bundle.config.windows.max_pieces,
    )
    check_tensors(tensors)
    decoded = compare_decoded(torch_pipeline, onnx_pipeline, notes)
    check_decoded(decoded)
    say(
        f"torch and ONNX agree: {tensors.worst:.1e} at most over {tensors.shapes} shapes; "
        f"{decoded.entities} entities and {decoded.relations} relations of {decoded.notes} "
        "notes identical"
    )
    return Checks(tensors, decoded, None)


def _tables(
    folder: Path, config: BundleConfig, data: Path | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Per precision, the table of scores and that of their reliability."""
    if data is None:
        return {}, {}
    _write_config(folder, config)
    corpora = [str(corpus["name"]) for corpus in config.provenance.get("corpora", ())]
    reports = {
        precision: evaluate(folder, data, corpora=corpora, precision=precision, calibrated=True)
        for precision in config.encoders
    }
    return (
        {name: replace(report, calibrations={}).table() for name, report in reports.items()},
        {name: report.calibration_table() for name, report in reports.items()},
    )


def _put_in_place(scratch: Path, target: Path) -> None:
    """Move the finished bundle to its name; an old one goes only once the new one is whole."""
    old = target.with_name(f".{target.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    try:
        scratch.rename(target)
    except OSError as error:
        if old.exists():
            old.rename(target)
        raise ArtefactError(f"{target}: cannot be written: {error.strerror}") from None
    shutil.rmtree(old, ignore_errors=True)
    target.chmod(0o755)
