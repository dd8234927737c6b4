"""How an extractor was loaded: what a process needs to load it again."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from emlb_runtime.bundle.loader import CONFIG_NAME, DEFAULT_MODEL

from .forks import Forkable, Networks, watch_forks

KEPT = 2
"""Recipes whose networks a process keeps for the next time they come."""


@dataclass(frozen=True)
class Recipe:
    """The arguments of ``Extractor.load``.

    Attributes:
        bundle: an absolute path; None is the model that comes with the runtime, wherever that
            is installed.
        provider: as asked for.
        precision: as asked for.
        workers: as asked for; None leaves the number to the machine that loads.
        min_score: as asked for.
        batch: as asked for.
    """

    bundle: str | None
    provider: str
    precision: str | None
    workers: int | None
    min_score: float
    batch: int | None


class _Opened(Protocol):
    @property
    def networks(self) -> Networks: ...


_Value = TypeVar("_Value", bound=_Opened)


class RecipeCache(Forkable, Generic[_Value]):
    """What was loaded by the last recipes that came to this process; safe in many threads.

    Frameworks unpickle their arguments for each task. The networks are loaded for the first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, ...], _Value] = OrderedDict()
        watch_forks(self)

    def get(self, recipe: Recipe, load: Callable[[], _Value]) -> _Value:
        """What was loaded by the recipe, if the bundle is still the same; else loads it."""
        key = (recipe, *_identity(recipe))
        with self._lock:
            found = self._kept.pop(key, None)
            if found is None or found.networks.is_spoilt:
                found = load()
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return found

    def forget(self, networks: Networks) -> None:
        """Let networks go."""
        with self._lock:
            for key in [k for k, kept in self._kept.items() if kept.networks is networks]:
                del self._kept[key]

    def _after_fork(self) -> None:
        """See ``Forkable``."""
        self._lock = threading.Lock()


def _identity(recipe: Recipe) -> tuple[int, ...]:
    """What changes when another bundle takes a bundle's place."""
    folder = Path(recipe.bundle) if recipe.bundle is not None else DEFAULT_MODEL
    try:
        status = os.stat(folder / CONFIG_NAME)
    except OSError:  # loading says why
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_size)
