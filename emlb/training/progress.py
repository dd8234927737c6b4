"""What a terminal shows of a run beside the progress bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tqdm.auto import tqdm  # type: ignore[import-untyped]
from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments


class Progress(ProgressCallback):
    """The ``Trainer``'s bar and losses; the scores come as a table instead."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write what is logged, but not the scores."""
        if not any(name.startswith("eval_") for name in logs or {}):
            super().on_log(args, state, control, logs=logs, **kwargs)  # type: ignore[no-untyped-call]


def above_the_bar(say: Callable[[str], None]) -> Callable[[str], None]:
    """The same, on lines of its own where a progress bar is shown."""

    def told(line: str) -> None:
        with tqdm.external_write_mode():
            say(line)

    return told
