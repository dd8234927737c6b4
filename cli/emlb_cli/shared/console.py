"""What every command shares: exit codes, and errors told in one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import NoReturn

from emlb_runtime import __version__
from emlb_runtime.errors import EmlbError


class ExitCode(IntEnum):
    """What the exit codes of every command mean."""

    DONE = 0
    SOME_FAILED = 1
    UNUSABLE = 2
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


# What a light install lacks, and the extra that brings it. Other modules that are missing
# are a broken install or a bug of ours, and keep their traceback.
_EXTRAS = {
    "onnxruntime": "cpu",
    "torch": "train",
    "torchcrf": "train",
    "transformers": "train",
    "accelerate": "train",
    "onnx": "export",
    "optimum": "optimum",
}


@contextmanager
def one_sentence_errors(
    program: str, *, extra: str | None = None, if_interrupted: str = "interrupted"
) -> Iterator[None]:
    """Turn what a user can act on into one line on standard error and an exit code.

    Args:
        program: the name the line starts with.
        extra: the extra that brings all this command needs; None names the one that
            brings the missing module.
        if_interrupted: the line for Ctrl-C.

    Raises:
        SystemExit: in place of ``EmlbError``, ``OSError``, a missing module of an extra,
            or Ctrl-C.
    """
    try:
        yield
    except (EmlbError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            _leave_closed_pipe()
        told = explain_os_error(error) if isinstance(error, OSError) else str(error)
        leave(program, told, ExitCode.UNUSABLE)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in _EXTRAS:
            raise
        own = extra is None or module in ("onnxruntime", "optimum")
        brought_by = _EXTRAS[module] if own else extra
        or_gpu = " (or 'emlb[gpu]' for CUDA)" if brought_by == "cpu" else ""
        sentence = f"{module} is not installed: pip install 'emlb[{brought_by}]'{or_gpu}"
        leave(program, sentence, ExitCode.UNUSABLE)
    except KeyboardInterrupt:
        leave(program, if_interrupted, ExitCode.INTERRUPTED)


def explain_os_error(error: OSError) -> str:
    """The file and what the system says of it, without the number that Python shows."""
    what = error.strerror or str(error) or type(error).__name__
    names = (error.filename, error.filename2)
    where = " to ".join(str(name) for name in names if name is not None)
    return f"{where}: {what}" if where else what


def leave(program: str, sentence: str, code: ExitCode) -> NoReturn:
    """End the command with one line on standard error."""
    tell(f"{program}: {sentence}")
    raise SystemExit(code) from None


@contextmanager
def warnings_told(program: str) -> Iterator[None]:
    """Tell what the runtime warns of, a line each on standard error.

    Args:
        program: the name the lines start with.
    """
    import logging

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(f"{program}: {record.getMessage()}")

    handler, logger = Told(logging.WARNING), logging.getLogger("emlb_runtime")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def tell(line: str) -> None:
    """One line on standard error."""
    print(line, file=sys.stderr)


def print_version(program: str, asked: bool) -> None:
    """The eager ``--version`` option: print and leave."""
    if asked:
        print(f"{program} {__version__}")
        raise SystemExit(ExitCode.DONE)


def drop_stdout() -> None:
    """Let standard output go nowhere: its reader has gone, or it can take no more.

    The interpreter flushes it once more as it ends.
    """
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave_closed_pipe() -> NoReturn:
    """End quietly when the reader of a pipe (``| head``) has gone."""
    drop_stdout()
    raise SystemExit(ExitCode.PIPE_CLOSED) from None
