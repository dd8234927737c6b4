"""Checkpoints that a run left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.trainer import TRAINER_STATE_NAME


def whole_checkpoints(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The checkpoints that were written whole, the last one first, with the trainer's state.

    The state is what the ``Trainer`` writes last: a checkpoint without one was cut off.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name[11:]), reverse=True)
    for checkpoint in found:
        try:
            state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        yield checkpoint, state
