"""Names of ``TrainingArguments`` that differ between transformers 4 and 5."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transformers import TrainingArguments


def schedule_arguments(*, warmup: float) -> dict[str, Any]:
    """Arguments for a share of warm-up and for batches of windows of similar length.

    Args:
        warmup: the share of all updates in which the rates rise, below 1.

    Returns:
        Keyword arguments by the names that the installed version knows.
    """
    known = {field.name for field in fields(TrainingArguments)}
    if "group_by_length" in known:
        return {"warmup_ratio": warmup, "group_by_length": True}
    return {"warmup_steps": warmup, "train_sampling_strategy": "group_by_length"}
