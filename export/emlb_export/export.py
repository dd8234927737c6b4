"""Exporting a trained model: graphs, verification, bundle, card; all or nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emlb.evaluation.calibration import plot as reliability
from emlb.evaluation.evaluate import Report, evaluate
from emlb.model.pretrained import TrainedModel
from emlb_export.presets import OWN
from emlb_runtime.bundle.loader import CONFIG_NAME, PRECISIONS, Bundle, BundleConfig
from emlb_runtime.errors import ArtefactError, ConfigError, DataError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.formats.notes import NoteFile, find_notes, read_notes
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Note

from .bundle_writer import FP16_NAME, FP32_NAME, seal, write_config, write_networks, write_whole
from .card import Checks, render_card
from .fp16 import add_half
from .graph.optimum_extra import check_extra
from .notes import NOTES
from .quantizers import add_int8
from .tuning import Loss, find_development, fix_thresholds, tune_precision
from .verify import check_decoded, check_tensors, compare_decoded, compare_tensors

CARD_NAME = "README.md"
PLOT_NAME = "calibration.svg"
MAX_LOSS = 0.3
"""Points of F1 that int8 may cost."""

MIN_AGREEMENT = 0.9
"""F1 of int8 against fp32 below which it is refused where no annotated data tell its cost."""

Say = Callable[[str], None]


def _silent(line: str) -> None:
    """Say nothing."""


def export(
    model: Path | None = None,
    *,
    out: Path | None = None,
    quantize: bool = False,
    quantizer: str | None = None,
    int8_only: bool = False,
    precisions: Collection[str] = (),
    name: str | None = None,
    version: str | None = None,
    notes: Path | None = None,
    eval_data: Path | None = None,
    data: Path | None = None,
    tuned: bool = True,
    thresholds: Mapping[str, float] | None = None,
    max_loss: float = MAX_LOSS,
    force: bool = False,
    overwrite: bool = False,
    say: Say = _silent,
) -> Path:
    """Write the bundle of a trained model, once it has been verified.

    Args:
        model: a run's folder or its ``model`` folder; None is the last finished run below
            ``runs``.
        out: the bundle's folder; None is ``bundle`` beside the model.
        quantize: keep the weights as int8 levels and scales, for int8 and fp32; int8 is then
            the default.
        quantizer: who makes the int8 networks, one of ``presets.QUANTIZERS``; to name one is
            to ask for int8. None is EMLB itself. Those of optimum hold weights of their own.
        int8_only: the same as ``quantize``.
        precisions: that the bundle can run in, ``int8``, ``fp16`` and ``fp32``; none is fp32
            alone, and with int8 fp32 is always there, from the same weights. The default is
            int8 before fp32 before fp16.
        name: of the model; None keeps the run's.
        version: of the model; None is EMLB's own.
        notes: folder or file of notes on which both must decode alike; None takes a few
            that come with EMLB.
        eval_data: annotated data to score every precision on, for the card.
        data: the folder of the corpora that the run was trained on, where it is another
            than then; thresholds and calibration of every precision are chosen on their
            development documents.
        tuned: whether to choose them; else those of the training hold for every precision.
        thresholds: relation types whose threshold is not to be chosen, with the score from
            which they are reported.
        max_loss: of F1, in points of a hundred, that int8 may cost on the development
            documents, entities or relations.
        force: write the bundle even if it costs more.
        overwrite: replace a bundle that is there.
        say: receives lines for the user.

    Returns:
        The bundle's folder.

    Raises:
        ConfigError: if there is no model, a bundle is there already, or optimum is needed and
            not installed.
        ArtefactError: if the exported networks do not agree with the model, or int8 costs
            more than it may; nothing is written to ``out`` then.
    """
    held = _held(precisions, quantize=quantize or quantizer is not None, int8_only=int8_only)
    folder = find_model(model)
    target = out or folder.parent / "bundle"
    if target.exists() and not overwrite:
        raise ConfigError(f"{target} is there already; choose another --out or use --overwrite")
    if target.exists() and not (target / CONFIG_NAME).is_file():
        raise ConfigError(f"{target} is not a bundle: --overwrite does not replace it")
    read = list(NOTES) + (_read_notes(notes) if notes else [])
    trained = TrainedModel.load(folder)
    quantizer = quantizer or OWN
    check_extra(trained.model.encoder, quantizer=quantizer)
    run = _read_run(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    parts = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-parts-"))
    try:
        whole = write_whole(trained.model, parts)
        config = write_networks(trained, whole, scratch, run, name=name, version=version)
        write_config(scratch, config)
        checks = _verify(trained, Bundle(scratch, config), read, say)
        exact = Bundle(parts / "fp32", config)  # with the weights as they were trained
        if "int8" in held:
            shutil.copytree(scratch, exact.folder)
            config = add_int8(trained.model, whole, scratch, config, quantizer=quantizer)
            agreement = compare_decoded(
                load_pipeline(exact, precision="fp32"),
                load_pipeline(Bundle(scratch, config), precision="int8"),
                read,
            )
            checks = replace(checks, quantized=agreement)
            say(
                f"int8 against fp32 on {len(read)} notes: F1 {agreement.entity_f1:.4f} of "
                f"entities, {agreement.relation_f1:.4f} of relations"
            )
        if "fp16" in held:
            config, half = add_half(whole, scratch, config, read)
            checks = replace(checks, half=half)
            say(
                f"fp16 against fp32 on {len(read)} notes: F1 {half.entity_f1:.4f} of entities, "
                f"{half.relation_f1:.4f} of relations"
            )
        config = _with_thresholds(config, thresholds or {})
        if tuned:
            config, loss = _tune(scratch, config, exact, run, data, thresholds or {}, say)
            checks = replace(checks, loss=loss)
        _check_loss(checks, max_loss=max_loss, force=force)
        tables, calibration = _tables(scratch, config, eval_data, say)
        if "fp32" not in held:
            (scratch / FP32_NAME).unlink()
            config = replace(config, encoders={"fp16": FP16_NAME}, default_precision="fp16")
        card = render_card(
            config, checks, tables, calibration, plotted=(scratch / PLOT_NAME).exists()
        )
        (scratch / CARD_NAME).write_text(card, encoding="utf-8")
        write_config(scratch, seal(scratch, config))
        Bundle.load(scratch).verify()
        _put_in_place(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(parts, ignore_errors=True)
    return target


def _held(precisions: Collection[str], *, quantize: bool, int8_only: bool) -> set[str]:
    """The precisions that the bundle is to hold.

    Raises:
        ConfigError: if one is unknown.
    """
    if unknown := sorted({*precisions} - {*PRECISIONS}):
        raise ConfigError(f"precision {unknown[0]} is unknown; choose {', '.join(PRECISIONS)}")
    held = {*precisions} or {"fp32"}
    if quantize or int8_only:
        held.add("int8")
    return held | {"fp32"} if "int8" in held else held  # from the same weights


def _with_thresholds(config: BundleConfig, thresholds: Mapping[str, float]) -> BundleConfig:
    """The configuration with some thresholds given.

    Raises:
        ConfigError: if there is no such relation, or the threshold is not a probability.
    """
    known = sorted({name for task in config.tasks for name in task.relation_types})
    for name, value in thresholds.items():
        if name not in known or not 0.0 <= value <= 1.0:
            raise ConfigError(
                f"--threshold {name}={value:g}: give one of {', '.join(known)} a score from 0 to 1"
            )
    return replace(config, tasks=tuple(fix_thresholds(task, thresholds) for task in config.tasks))


def _tune(
    folder: Path,
    config: BundleConfig,
    exact: Bundle,
    run: dict[str, Any],
    data: Path | None,
    thresholds: Mapping[str, float],
    say: Say,
) -> tuple[BundleConfig, Loss | None]:
    """The configuration with what is best for each precision, and what int8 costs then."""
    corpora = find_development(run, config.tasks, data, say)
    if not corpora:
        return config, None
    names = [name for name in config.encoders if name != "fp16"]  # which has fp32's
    found = {
        name: tune_precision(Bundle(folder, config), name, corpora, fixed=thresholds)
        for name in names
    }
    tuned = {name: each.tasks for name, each in found.items() if name != "fp32"}
    config = replace(config, tasks=found["fp32"].tasks, tuned=tuned)
    if "int8" not in found:
        return config, None
    loss = Loss.between(tune_precision(exact, "fp32", corpora, fixed=thresholds), found["int8"])
    say(str(loss))
    return config, loss


def _check_loss(checks: Checks, *, max_loss: float, force: bool) -> None:
    """Refuse an int8 encoder that costs too much.

    Raises:
        ArtefactError: with the figure.
    """
    agreement, loss = checks.quantized, checks.loss
    if force or agreement is None:
        return
    if loss is not None and loss.exceeds(max_loss):
        raise ArtefactError(
            f"{loss}, more than --max-loss {max_loss:g} allows: export without --quantize, or "
            "use --force to export it anyway"
        )
    if loss is None and agreement.entities and agreement.entity_f1 < MIN_AGREEMENT:
        raise ArtefactError(
            f"int8 and fp32 agree on {100 * agreement.entity_f1:.1f} % of the entities of the "
            f"notes, which is less than {100 * MIN_AGREEMENT:.0f} %: export without --quantize, "
            "or use --force to export it anyway"
        )


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
    folder: Path,
    config: BundleConfig,
    data: Path | None,
    say: Say,
) -> tuple[dict[str, str], dict[str, str]]:
    """Per precision, the table of scores and that of their reliability; a plot of the latter."""
    if data is None:
        return {}, {}
    corpora = [str(corpus["name"]) for corpus in config.provenance.get("corpora", ())]
    reports: dict[str, Report] = {}
    for name in config.encoders:
        write_config(folder, config)
        reports[name] = evaluate(folder, data, corpora=corpora, precision=name, calibrated=True)
    shown = reports[config.default_precision]
    (alone,) = shown.calibrations.values() if len(shown.calibrations) == 1 else ({},)
    if reliability.can_draw():
        reliability.draw(shown.calibration or alone, folder / PLOT_NAME)
    else:
        say("no reliability plot on the card: pip install 'emlb[figures]' for matplotlib")
    return (
        {
            name: replace(report, calibrations={}, calibration={}).table()
            for name, report in reports.items()
        },
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
