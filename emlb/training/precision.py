"""The arithmetic that ``TrainingArguments`` and accelerate agree on."""

from __future__ import annotations

import os


def forget_precision() -> None:
    """Undo what an earlier run of this process, or a launcher, left in the environment.

    ``TrainingArguments`` writes its precision to ACCELERATE_MIXED_PRECISION and reads it from
    there when it is not told another one, so that a run in fp32 after one in bf16 would
    train in bf16. The configuration alone decides.
    """
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
