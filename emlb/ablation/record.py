"""What an ablation was made with and what came out, as JSON-ready values."""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from emlb.training.config import RunConfig
from emlb_runtime import __version__

from .modules import MODULES, REFERENCE
from .scoring import Dataset

_LIBRARIES = ("numpy", "tokenizers", "torch", "transformers", "accelerate", "pytorch-crf")
_OF_THE_MACHINE = ("data", "output")
_ABSOLUTE = re.compile(r"(?<![\w.:/])~?/[^\s\"',\]]+")


def describe(
    configs: Sequence[tuple[Path, RunConfig]],
    *,
    seeds: int,
    overrides: Sequence[str],
    samples: int,
    datasets: Sequence[Dataset],
) -> dict[str, Any]:
    """Command, settings, versions and figures; of absolute paths the last part only."""
    words = ["emlb", "ablate", *(_named(str(path)) for path, _ in configs)]
    words += ["--seeds", str(seeds), "--out", "FOLDER"]
    for override in overrides:
        key, _, value = override.partition("=")
        words += ["--set", f"{key}={_named(value)}"]
    return {
        "command": shlex.join(words),
        "versions": {
            "emlb": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _LIBRARIES},
        },
        "modules": [asdict(module) for module in MODULES],
        "compared_with": REFERENCE,
        "bootstrap_samples": samples,
        "configurations": {
            config.name: {
                "seeds": [config.seed + n for n in range(seeds)],
                **{
                    key: _anonymous(value)
                    for key, value in asdict(config).items()
                    if key not in (*_OF_THE_MACHINE, "name", "seed")
                },
            }
            for _, config in configs
        },
        "datasets": [_dataset(dataset) for dataset in datasets],
    }


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "part": dataset.part,
        "documents": dataset.documents,
        "runs": [
            {
                "module": one.module,
                "seed": one.seed,
                "figures": {".".join(measure): value for measure, value in one.values.items()},
            }
            for one in dataset.figures
        ],
        "differences": {
            module.name: {
                ".".join(measure): [interval.low, interval.high]
                for (name, measure), interval in sorted(dataset.differences.items())
                if name == module.name
            }
            for module in MODULES
            if module.name != REFERENCE
        },
    }


def _anonymous(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _anonymous(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_anonymous(held) for held in value]
    return _named(value) if isinstance(value, str) else value


def _named(text: str) -> str:
    """The text with each path of the machine cut to its last part."""
    return _ABSOLUTE.sub(lambda path: Path(path[0]).name, text)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
