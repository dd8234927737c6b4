"""Ways to make an encoder smaller and faster, side by side: speed, F1, size, neighbours, error.

    python benchmarks/quantisation.py NOTES … --model BUNDLE --eval DATA [--corpus NAME …]
        [--calibration NOTES] [--rounds 7] [--windows 1000] [--limit N] [--out FOLDER]

From one fp32 encoder come dynamic and static int8, blocks of 8 and 4 bits, EMLB's own int8, fp16,
and (where `openvino` is installed) bf16 and int8 through OpenVINO. Of each, in one process:

* *speed*: real windows of the notes, one per run and one thread per core, all in turn in every
  round; the median of the rounds' ratios to fp32;
* *F1 loss*: strict micro F1 of entities and of relations on annotated data, of types that are
  annotated in full, through the deployed decoder, below that of fp32; each with the thresholds
  and calibration that are best for it there, as `emlb export` chooses them;
* *neighbours*: how far hidden states of a window move when it runs padded among eight;
* *error*: of hidden states against fp32, root of the sum of squares, relative.

Prints the table as Markdown; --out writes it there with the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
from quantisation_variants import Variant, Windows, make_variants

from emlb.evaluation.pipeline_scores import ScoredCorpus
from emlb.evaluation.scoring.gold import SCHEMA_NAME, read_gold
from emlb_export.fp16 import sample_windows
from emlb_export.tuning import Loss, Tuned, open_untuned, tune_pipeline
from emlb_runtime import __version__
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.formats.notes import find_notes, read_notes
from emlb_runtime.inference.backend import Backend, Ints
from emlb_runtime.machine.info import available_cores, read_machine
from emlb_runtime.pipeline import Pipeline, pad_windows
from emlb_runtime.profiling.benchmark import timed
from emlb_runtime.records import Note
from emlb_runtime.schema.task import Task

NEIGHBOURS = 8
COMPARED = 64
"""Windows on which hidden states are compared."""

CALIBRATION = 128
"""Windows that static scales are chosen on."""


@dataclass(frozen=True)
class Row:
    """One variant as measured.

    Attributes:
        name: of the variant.
        seconds: per round, of all windows.
        speed: times as fast as fp32, the median of the rounds.
        tokens: word pieces per second, of the median round.
        size: bytes of the encoder's file.
        table_size: bytes of those that are embeddings.
        neighbours: largest absolute difference of hidden states, alone against among eight.
        error: of hidden states, relative to fp32's.
        entity_f1: strict micro F1, percent; None without annotated data.
        relation_f1: likewise, end to end.
        entity_loss: points below fp32.
        relation_loss: likewise.
    """

    name: str
    seconds: list[float]
    speed: float
    tokens: float
    size: int
    table_size: int
    neighbours: float
    error: float
    entity_f1: float | None = None
    relation_f1: float | None = None
    entity_loss: float | None = None
    relation_loss: float | None = None


def alone(backend: Backend, ids: np.ndarray) -> np.ndarray:
    """Hidden states (T, D) of a window by itself."""
    return np.asarray(backend.encode(*pad_windows([ids], 0)).hidden[0])


def hidden_error(reference: Backend, backend: Backend, windows: Windows) -> float:
    """Relative size of the difference of hidden states over the windows."""
    difference = total = 0.0
    for ids in windows:
        wanted = alone(reference, ids).astype(np.float64)
        difference += float(((alone(backend, ids) - wanted) ** 2).sum())
        total += float((wanted**2).sum())
    return float(np.sqrt(difference / total))


def neighbour_dependence(backend: Backend, windows: Windows, *, pad: int) -> float:
    """Largest absolute difference of a window's hidden states, alone and among others."""
    worst = 0.0
    for first in range(0, len(windows), NEIGHBOURS):
        rows = windows[first : first + NEIGHBOURS]
        together = backend.encode(*pad_windows(rows, pad)).hidden
        for own, ids in zip(together, rows, strict=True):
            worst = max(worst, float(np.abs(own[: len(ids)] - alone(backend, ids)).max()))
    return worst


def time_rounds(
    variants: Sequence[Variant], windows: Windows, rounds: int
) -> dict[str, list[float]]:
    """Per variant the seconds of each round over all windows, after one to warm up."""
    inputs = [pad_windows([ids], 0) for ids in windows]
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    with ThreadPoolExecutor(available_cores()) as pool:
        for number in range(rounds + 1):
            for variant in variants:
                took = timed(partial(encode_all, pool, variant.backend, inputs))
                if number:
                    seconds[variant.name].append(took)
    return seconds


def encode_all(
    pool: ThreadPoolExecutor, backend: Backend, inputs: Sequence[tuple[Ints, Ints]]
) -> None:
    """Encode windows, one per run, as the pipeline does on a CPU."""
    for _ in pool.map(lambda item: backend.encode(*item), inputs):
        pass


def read_development(
    data: Path, names: Sequence[str], *, limit: int | None, task: Task
) -> list[ScoredCorpus]:
    """Annotated documents, scored and tuned on as their schema says where there is one."""
    schema = (data if data.is_dir() else data.parent) / SCHEMA_NAME
    stated: dict[str, Any] = {}
    if schema.is_file():
        stated = json.loads(schema.read_text(encoding="utf-8"))["corpora"]
    own = {*task.entity_types, *task.relation_types}
    return [
        ScoredCorpus(
            name=corpus.name,
            task=task.name,
            documents=corpus.documents,
            types=corpus.types & own,
            full=own & {*stated[corpus.name]["annotated_in_full"]} if corpus.is_stated else None,
        )
        for corpus in read_gold(data, corpora=names, limit=limit)
    ]


def tune_each(
    pipeline: Pipeline,
    tasks: Sequence[Task],
    variants: Sequence[Variant],
    corpora: Sequence[ScoredCorpus],
) -> dict[str, Tuned]:
    """Per variant its scores, the pipeline run on each in turn."""
    found: dict[str, Tuned] = {}
    for variant in variants if corpora else ():
        say(f"scoring {variant.name}")
        pipeline.backend = variant.backend
        found[variant.name] = tune_pipeline(pipeline, tasks, corpora)
    return found


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Everything measured, JSON-ready."""
    bundle = Bundle.load(options.model)
    if "fp32" not in bundle.config.encoders or "int8" in bundle.config.encoders:
        sys.exit(f"{bundle.folder} has no fp32 weights: export it without --quantize")
    tasks = bundle.config.tasks
    task = next((task for task in tasks if task.name == (options.task or tasks[0].name)), None)
    if task is None or (len(tasks) > 1 and not options.task):
        sys.exit(f"name one of the bundle's tasks with --task: {', '.join(t.name for t in tasks)}")
    pipeline = open_untuned(bundle, "fp32")
    reference, pad = pipeline.backend, bundle.config.special.pad
    windows = sample_windows(pipeline, read(options.notes), most=options.windows)
    calibration = options.calibration or options.notes
    say("making the variants")
    variants, left_out = make_variants(
        bundle,
        reference,
        scratch,
        calibration=sample_windows(pipeline, read(calibration), most=CALIBRATION),
    )
    compared = windows[:: -(-len(windows) // COMPARED)]
    say(f"timing {options.rounds} rounds over {len(windows)} windows")
    seconds = time_rounds(variants, windows, options.rounds)
    corpora = (
        read_development(options.eval, options.corpus, limit=options.limit, task=task)
        if options.eval
        else []
    )
    tuned = tune_each(pipeline, tasks, variants, corpora)
    tokens = sum(map(len, windows))
    rows = [
        Row(
            variant.name,
            seconds[variant.name],
            median(
                plain / own
                for plain, own in zip(seconds["fp32"], seconds[variant.name], strict=True)
            ),
            tokens / median(seconds[variant.name]),
            variant.size,
            variant.table_size,
            neighbour_dependence(variant.backend, compared, pad=pad),
            hidden_error(reference, variant.backend, compared),
            *figures(tuned, variant.name),
        )
        for variant in variants
    ]
    return {
        "emlb": __version__,
        "onnxruntime": onnxruntime.__version__,
        "machine": asdict(read_machine()),
        "bundle": f"{bundle.config.name} {bundle.config.version}",
        "windows": len(windows),
        "tokens": tokens,
        "documents": {corpus.name: len(corpus.documents) for corpus in corpora},
        "rows": [asdict(row) for row in rows],
        "left_out": left_out,
    }


def figures(tuned: dict[str, Tuned], name: str) -> tuple[float, ...]:
    """F1 of entities and relations, and how far below fp32; nothing without annotated data."""
    if not tuned:
        return ()
    pooled, loss = tuned[name].pooled, Loss.between(tuned["fp32"], tuned[name])
    f1 = (pooled.entities.strict.micro.f1, pooled.relations.strict.micro.f1)
    return 100 * f1[0], 100 * f1[1], loss.entities, loss.relations


def render(measured: dict[str, Any]) -> str:
    """The table as Markdown, and what it was measured on."""
    machine, rows = measured["machine"], measured["rows"]
    lines = [
        f"{measured['bundle']}, onnxruntime {measured['onnxruntime']}, EMLB {measured['emlb']}; "
        f"{machine['processor']}, {machine['cores']} cores, "
        f"{' '.join(machine['instructions'] or ())}",
        f"{measured['windows']} windows, {measured['tokens']} word pieces, "
        f"{len(rows[0]['seconds'])} rounds; "
        f"{sum(measured['documents'].values())} annotated documents",
        "",
        "| encoder | speed, × fp32 | tokens/s | F1 loss, entities | F1 loss, relations "
        "| MB | of which embeddings | neighbours | hidden error |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        losses = [
            "–" if row[key] is None else f"{row[key]:+.2f}"
            for key in ("entity_loss", "relation_loss")
        ]
        lines.append(
            f"| {row['name']} | {row['speed']:.2f} | {row['tokens']:,.0f} | {losses[0]} "
            f"| {losses[1]} | {row['size'] / 1e6:.1f} | {row['table_size'] / 1e6:.1f} "
            f"| {row['neighbours']:.1g} | {100 * row['error']:.2g} % |"
        )
    lines += [""] + [f"{name}: left out, {why}" for name, why in measured["left_out"].items()]
    return "\n".join(lines).rstrip() + "\n"


def read(paths: Sequence[str]) -> list[Note]:
    """The notes of files and folders."""
    notes = [item for item in read_notes(find_notes(paths)) if isinstance(item, Note)]
    return notes or sys.exit(f"no note in {', '.join(paths)}")


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes", nargs="*", default=["examples/notes"], help="to time on")
    parser.add_argument("--model", type=Path, help="a bundle with an fp32 encoder")
    parser.add_argument("--eval", type=Path, help="annotated data")
    parser.add_argument("--corpus", action="append", default=[], help="of a mixture; repeat it")
    parser.add_argument("--task", help="of a bundle with several")
    parser.add_argument("--limit", type=int, help="annotated documents per corpus at most")
    parser.add_argument("--calibration", nargs="+", help="raw notes for static scales; the NOTES")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--windows", type=int, default=1000, help="at most, of the notes")
    parser.add_argument("--out", type=Path, help="folder for quantisation.json and .md")
    options = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with tempfile.TemporaryDirectory() as scratch:
        measured = measure(options, Path(scratch))
    table = render(measured)
    print(table, end="")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "quantisation.md").write_text(table, encoding="utf-8")
        text = json.dumps(measured, indent=1) + "\n"
        (options.out / "quantisation.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
