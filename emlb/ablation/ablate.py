"""The whole ablation: train what is not trained yet, score, write tables and figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emlb.data.corpora import load_corpus
from emlb.evaluation.pipeline_scores import ScoredCorpus
from emlb.recipes import find_recipe
from emlb.training.config import Learned, RunConfig, load_config
from emlb.training.toml_settings import build
from emlb.training.train import train
from emlb_runtime.errors import ConfigError, DataError

from .figures import draw
from .modules import MODULES, Module, refuse_ours, settings
from .record import describe
from .scoring import SAMPLES, Dataset, Judged, compare, judge, load_models, scored_corpora
from .table import render, to_csv

Say = Callable[[str], None]


def _silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Plan:
    """One configuration and the runs it takes.

    Attributes:
        path: the configuration file.
        config: as it stands, without a module's settings.
        seeds: of the runs.
        overrides: the user's.
    """

    path: Path
    config: RunConfig
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]

    def settings(self, module: Module, seed: int, part: Learned) -> list[str]:
        """All overrides of one run."""
        return [*self.overrides, *settings(self.config.name, module, seed, part)]

    def run(self, module: Module, seed: int, part: Learned) -> RunConfig:
        """The configuration of one run."""
        return load_config(self.path, self.settings(module, seed, part))


def ablate(
    configs: Sequence[Path],
    *,
    seeds: int,
    out: Path,
    overrides: Sequence[str] = (),
    samples: int = SAMPLES,
    say: Say = _silent,
) -> Path:
    """Train the four modules on each configuration over several seeds, and compare them.

    A finished run is taken as it is, one that was cut off goes on: the command can be given
    again and again.

    Args:
        configs: TOML files, or names of recipes; one dataset each.
        seeds: how many, from the configuration's own on.
        out: folder for ``ablation.md``, ``.csv``, ``.json`` and the figures; made if missing.
        overrides: ``section.key=value``, for all configurations.
        samples: of the bootstrap.
        say: receives lines for the user.

    Returns:
        ``out``.

    Raises:
        ConfigError: if a setting is wrong, or a run's folder holds one with other settings.
        DataError: if a corpus cannot be read, or is no longer divided as it was.
    """
    plans = make_plans(configs, seeds=seeds, overrides=overrides)
    for plan in plans:
        _train(plan, say)
    datasets = [dataset for plan in plans for dataset in _score(plan, samples, say)]
    out.mkdir(parents=True, exist_ok=True)
    record = describe(
        [(path, plan.config) for path, plan in zip(configs, plans, strict=True)],
        seeds=seeds,
        overrides=overrides,
        samples=samples,
        datasets=datasets,
    )
    _write(out / "ablation.md", render(datasets, command=record["command"]))
    _write(out / "ablation.csv", to_csv(datasets))
    _write(out / "ablation.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    draw(datasets, out, say)
    return out


def make_plans(configs: Sequence[Path], *, seeds: int, overrides: Sequence[str] = ()) -> list[Plan]:
    """Read every configuration and check every run's settings, before anything is trained.

    Raises:
        ConfigError: if one does not fit.
    """
    refuse_ours(overrides)
    if seeds < 1:
        raise ConfigError(f"{seeds} seeds; there must be at least 1")
    plans: list[Plan] = []
    for path in map(find_recipe, configs):
        config = load_config(path, overrides)
        if config.training.learned != "both":
            raise ConfigError(
                f"{config.name}: a loss has weight 0; an ablation needs entities and relations"
            )
        if any(config.folder == plan.config.folder for plan in plans):
            raise ConfigError(f"two configurations are named {config.name}: name them apart")
        numbers = tuple(range(config.seed, config.seed + seeds))
        plan = Plan(path, config, numbers, tuple(overrides))
        plans.append(plan)
        for module, seed, part in _runs(plan):
            _is_finished(plan.run(module, seed, part))
    return plans


def _runs(plan: Plan) -> list[tuple[Module, int, Learned]]:
    return [(m, seed, part) for seed in plan.seeds for m in MODULES for part in m.parts]


def _train(plan: Plan, say: Say) -> None:
    for module, seed, part in _runs(plan):
        run = plan.run(module, seed, part)
        if _is_finished(run):
            say(f"{run.name}: finished before")
            continue
        say(f"{run.name}: training")
        train(plan.path, overrides=plan.settings(module, seed, part), say=say)
        # Nothing goes on from a finished run, and optimiser states are several models' size.
        shutil.rmtree(run.folder / "checkpoints")


def _is_finished(run: RunConfig) -> bool:
    """Whether the run is done already.

    Raises:
        ConfigError: if its folder holds a run with other settings.
    """
    path = run.folder / "run.json"
    if not path.is_file():
        return False
    held = json.loads(path.read_text(encoding="utf-8"))["config"]
    with suppress(ConfigError):  # of a setting that is no more
        if build(RunConfig, _set(held)) == run:  # one that came since has its default
            return True
    raise ConfigError(
        f"{run.folder} holds a run with other settings; choose another output or delete it"
    )


def _set(value: Any) -> Any:
    """JSON values as TOML has them: what is not set is not there."""
    if isinstance(value, dict):
        return {key: _set(held) for key, held in value.items() if held is not None}
    return [_set(held) for held in value] if isinstance(value, list) else value


def _score(plan: Plan, samples: int, say: Say) -> list[Dataset]:
    """One dataset per corpus of the configuration."""
    loaded = [load_corpus(corpus, Path(plan.config.data)) for corpus in plan.config.corpus]
    names = {corpus.config.name: corpus.split.names() for corpus in loaded}
    judged: dict[str, list[Judged]] = {}
    held: dict[str, tuple[str, ScoredCorpus]] = {}
    for module in MODULES:
        for seed in plan.seeds:
            runs = [plan.run(module, seed, part) for part in module.parts]
            for run in runs:
                _check_split(run, names)
            models = load_models([run.folder for run in runs])
            if not held:
                held = scored_corpora(loaded, models)
            for name, (_, corpus) in held.items():
                judged.setdefault(name, []).append(judge(models, corpus, module.name, seed))
        say(f"{plan.config.name}: {module.name} scored")
    whole = plan.config.name
    return [
        compare(
            whole if len(held) == 1 else f"{whole}, {name}",
            judged[name],
            part=part,
            documents=len(corpus.documents),
            samples=samples,
        )
        for name, (part, corpus) in held.items()
    ]


def _check_split(run: RunConfig, names: dict[str, dict[str, list[str]]]) -> None:
    path = run.folder / "splits.json"
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{path}: not the split of a run") from None
    if held != names:
        raise DataError(f"{path}: the corpora are divided otherwise now than when it was trained")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
