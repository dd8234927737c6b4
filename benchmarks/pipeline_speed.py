"""How much of the bare network's speed the whole pipeline keeps, and how fast it starts.

    python benchmarks/pipeline_speed.py [NOTES …] [--model BUNDLE] [--rounds 3]

Everything is measured side by side in one process, rounds alternating, best of each:

* *bare encoder*: the ONNX encoder alone on the very windows of these notes, one thread per
  core, inputs made beforehand;
* *bare networks*: the same plus the relation head on the very pairs;
* *pipeline*: reading the files, tokenising, cutting, encoding, decoding, relating, merging,
  and writing JSON lines.

A ratio of 0.9 says that reading, decoding and writing together cost a tenth. Where they cost
it is shown by the stages of a pass in one thread, as `emlb bench` has them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.extract import Extractor, available_cores, load_pipeline
from emlb_runtime.formats.notes import find_notes, read_notes
from emlb_runtime.inference.backend import Backend, Encoded, Floats, Ints
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.profiling.benchmark import extract_files, timed
from emlb_runtime.profiling.stages import CountingBackend, time_stages
from emlb_runtime.records import Note

IMPORTS = "import numpy, tokenizers, onnxruntime"


class Recorder(CountingBackend):
    """Keeps the inputs of every call too, to replay them without the pipeline."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.inputs: list[tuple[Ints, Ints]] = []
        self.pairs: list[tuple[str, Floats, Ints, Ints, Ints]] = []

    def encode(self, input_ids: Ints, attention_mask: Ints) -> Encoded:
        self.inputs.append((input_ids, attention_mask))
        return super().encode(input_ids, attention_mask)

    def relate(
        self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints, pairs: Ints
    ) -> Floats:
        self.pairs.append((task, hidden, attention_mask, spans, pairs))
        return super().relate(task, hidden, attention_mask, spans, pairs)


def record(pipeline: Pipeline, notes: list[Note]) -> Recorder:
    """Run the notes once and keep what the networks were asked."""
    backend = pipeline.backend
    recorder = Recorder(backend)
    pipeline.backend = recorder
    pipeline.run(notes)
    pipeline.backend = backend
    return recorder


def start_up(model: str | None) -> tuple[float, float]:
    """Seconds of ``emlb-run`` on one short note, and of the imports alone; best of seven each."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "note.txt"
        note.write_text("Rash after amoxicillin 500 mg.\n", encoding="utf-8")
        run = [sys.executable, "-m", "emlb_cli.run", str(note), "--quiet"]
        run += ["--out", str(Path(folder) / "out.jsonl"), *(["--model", model] if model else [])]
        commands = (run, [sys.executable, "-c", IMPORTS])
        # As after an installation: all modules are compiled, by the first round here.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(folder) / "compiled")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        best = [float("inf")] * 2
        for _ in range(8):
            for index, command in enumerate(commands):
                start = partial(subprocess.run, command, check=True, env=environment)
                best[index] = min(best[index], timed(start))
    return best[0], best[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes", nargs="*", default=["examples/notes"])
    parser.add_argument("--model", default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=1, help="read the notes this many times")
    options = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    cores = available_cores()
    files = find_notes(options.notes) * options.repeat
    notes = [item for item in read_notes(files) if isinstance(item, Note)]
    pipeline = load_pipeline(Bundle.load(options.model))
    recorder = record(pipeline, notes)
    backend = pipeline.backend
    tokens = recorder.tokens
    extractor = Extractor.load(options.model, provider="cpu")

    with ThreadPoolExecutor(cores) as pool:

        def encoder() -> None:
            list(pool.map(lambda item: backend.encode(*item), recorder.inputs))

        def networks() -> None:
            encoder()
            list(pool.map(lambda item: backend.relate(*item), recorder.pairs))

        def whole() -> None:
            extract_files(extractor, files)

        kinds = {"bare encoder": encoder, "bare networks": networks, "pipeline": whole}
        best = dict.fromkeys(kinds, float("inf"))
        for _ in range(options.rounds):
            for name, work in kinds.items():
                best[name] = min(best[name], timed(work))
    stages = time_stages(pipeline, files)
    run, imports = start_up(options.model)
    speed = {name: tokens / seconds for name, seconds in best.items()}
    figures = {
        "notes": len(notes),
        "windows": recorder.windows,
        "tokens": tokens,
        "cores": cores,
        "precision": backend.precision,
        **{f"{name}, tokens/s": round(value) for name, value in speed.items()},
        "pipeline / bare encoder": round(speed["pipeline"] / speed["bare encoder"], 3),
        "pipeline / bare networks": round(speed["pipeline"] / speed["bare networks"], 3),
        "notes/s": round(len(notes) / best["pipeline"], 1),
        "emlb-run on one note, s": round(run, 3),
        "stages in one thread, share": {
            stage: round(seconds / stages.seconds, 4) for stage, seconds in stages.stages.items()
        },
        f"'{IMPORTS}', s": round(imports, 3),
        "start / imports": round(run / imports, 2),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
