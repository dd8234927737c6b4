"""The benchmark's side of the worker processes."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from .records import ContestantError

FOLDER = Path(__file__).resolve().parent.parent
MODULE = f"{Path(__file__).resolve().parent.name}.worker"

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class Process:
    """One contestant's process; a context manager that ends it.

    Args:
        python: runs it.
        cores: told to every library that asks the environment.
        timeout: seconds that one command may take.
        show: whether to let the libraries' own messages through, which may quote notes.
    """

    def __init__(
        self, python: str, *, cores: int, timeout: float = 7200.0, show: bool = False
    ) -> None:
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(cores))}
        environment |= dict.fromkeys(_OFFLINE, "1")
        environment |= {"PYTHONPATH": str(FOLDER), "TOKENIZERS_PARALLELISM": "false"}
        environment |= {"PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "ignore"}
        self._timeout = timeout
        try:
            self._process = subprocess.Popen(
                [python, "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if show else subprocess.DEVNULL,
                encoding="utf-8",
                env=environment,
            )
        except OSError as error:
            raise ContestantError(f"{python} cannot be run: {error.strerror}") from None

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        """Give a command and wait for its answer.

        Raises:
            ContestantError: what the process answers, or that it died or took too long.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        timer = threading.Timer(self._timeout, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if not line:
            code = self._process.wait()
            why = f"took over {self._timeout:g} s" if late else f"died with exit code {code}"
            raise ContestantError(f"{do}: the process {why}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContestantError(answer["error"])
        return answer

    def run(self, paths: Sequence[str]) -> dict[str, Any]:
        """One pass; see ``ask``."""
        return self.ask("run", paths=list(paths))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
