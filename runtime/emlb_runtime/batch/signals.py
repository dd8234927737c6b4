"""SIGINT and SIGTERM: heard at once while a run waits, and between two notes while it writes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

HEARD = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal asked the run to end.

    Attributes:
        signal: which.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = signal.Signals(number)


class StopSignals:
    """While it is entered, the signals that ask for an end raise ``Stopped``.

    A signal that is ignored from outside (``nohup``) stays ignored. In a thread other than the
    main one, where Python takes no handlers, everything stays as it is.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._is_held = False
        self._pending: int | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in HEARD:
                handler = signal.getsignal(number)
                if handler is not signal.SIG_IGN and handler is not None:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Until its end no signal interrupts; one that came meanwhile raises then."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._pending is not None:
            raise Stopped(self._pending)

    def ignore(self) -> None:
        """From here on the run ends by itself."""
        self._is_held = True

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self._is_held:
            raise Stopped(number)
        self._pending = number
