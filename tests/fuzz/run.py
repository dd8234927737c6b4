"""Coverage-guided fuzzing with atheris: ``python -m tests.fuzz.run --seconds 60 [TARGET ...]``.

Each target runs in a process of its own with a corpus folder of its own, which is gone on with
when the same command is given again. A crash leaves its input beside it as ``crash-…``; give
that file to ``--replay`` with its target. atheris is no dependency of the project: it runs on
CPython of some versions and Linux only. ``pip install atheris`` into the environment first.
"""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXTRACTOR = "extractor"
NAMES = (
    *("brat", "brat_folder", "documents", "mixture", "detect", "noteevents", "tables"),
    *("anafora", "share", "text", EXTRACTOR),
)
MAX_BYTES = 4096
MEGABYTES = 4096
SLOWEST = 20  # seconds of one input


def main() -> int:
    """Run targets; the exit code says whether any of them crashed."""
    options = _options()
    if options.replay:
        load_target(options.targets[0], options.corpus)(options.replay.read_bytes())
        return 0
    if options.inside:
        fuzz(options.targets[0], options.corpus, options.seconds)
        return 0
    crashed = []
    for name in options.targets or NAMES:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.run", name, "--inside"),
                *("--seconds", str(options.seconds), "--corpus", str(options.corpus)),
            ],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
        count = runs[-1] if runs else "?"
        sys.stdout.write(f"{name}: {count} executions, exit code {done.returncode}\n")
        if done.returncode:
            crashed.append(name)
            sys.stdout.write(done.stderr[-6000:])
        sys.stdout.flush()
    return 1 if crashed else 0


def fuzz(name: str, corpus: Path, seconds: int) -> None:
    """Fuzz one target in this process; does not return."""
    atheris: Any = importlib.import_module("atheris")  # has no types, nor need to be there

    with atheris.instrument_imports(include=["emlb_runtime", "emlb"]):
        target = load_target(name, corpus)
        from .seeds import SEEDS, WORDS

    folder = corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(SEEDS[name]):
        (folder / f"seed-{index}").write_bytes(seed)
    words = corpus / "words.dict"
    words.write_text("".join(f'"{_escape(word)}"\n' for word in WORDS if len(word) < 60))
    arguments = {
        "max_total_time": seconds,
        "max_len": MAX_BYTES,
        "rss_limit_mb": MEGABYTES,
        "timeout": SLOWEST,
        "print_final_stats": 1,
        "verbosity": 1,
        "dict": words,
        "artifact_prefix": f"{corpus}/{name}-",
    }
    atheris.Setup(
        [sys.argv[0], *(f"-{key}={value}" for key, value in arguments.items()), str(folder)],
        target,
    )
    atheris.Fuzz()


def load_target(name: str, corpus: Path) -> Callable[[bytes], Any]:
    """The target of that name; the extractor's needs a model, which is made once."""
    from .targets import TARGETS

    if name != EXTRACTOR:
        return TARGETS[name]
    from .extractor import make_target

    return make_target(_tiny_bundle(corpus))


def _tiny_bundle(corpus: Path) -> Path:
    """The tiny model, trained and exported in a process of its own: torch is not fuzzed."""
    bundle = corpus / "tiny-bundle"
    if not (bundle / "config.json").exists():
        subprocess.run(
            [sys.executable, "-c", _MAKE_BUNDLE, str(corpus / "tiny"), str(bundle)], check=True
        )
    return bundle


_MAKE_BUNDLE = """
import sys
from pathlib import Path
from emlb_export.export import export
from tests import tiny
work, bundle = map(Path, sys.argv[1:])
notes = tiny.tiny_notes()
encoder = tiny.build_encoder(work / "encoder", [document.note.text for document in notes])
data = tiny.write_brat(notes, work / "data" / "notes")
export(tiny.train_tiny(work, encoder=encoder, data=data).folder, out=bundle, quantize=True)
"""


def _escape(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"), help="kept between runs")
    parser.add_argument("--replay", type=Path, help="run this one input, without atheris")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.targets) - set(NAMES):
        parser.error(f"unknown target {', '.join(sorted(unknown))}; choose {', '.join(NAMES)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
