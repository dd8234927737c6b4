"""The folder of a run: claimed before it, gone on with after a kill, tidied at its end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from emlb_runtime.errors import ConfigError

RECORD = "pretraining.json"
"""What a finished run says of itself."""

CHECKPOINTS = "checkpoints"
_SETTINGS = "settings.json"
_BEFORE = "before.json"


class RunFolder:
    """Where an encoder is to go; what an unfinished run needs lies below ``checkpoints``.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / CHECKPOINTS

    def check(self, *, fresh: bool) -> None:
        """Refuse a folder with anything but an unfinished run of this kind.

        Args:
            fresh: a finished run will be discarded.

        Raises:
            ConfigError: saying what is there and what to do.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ConfigError(f"{self.path} is a file; choose a folder that is new")
        finished, begun = self.path / RECORD, self.checkpoints / _SETTINGS
        if not finished.exists() and not begun.exists() and any(self.path.iterdir()):
            raise ConfigError(f"{self.path} holds other files; choose a folder that is new")
        if finished.exists() and not fresh:
            raise ConfigError(f"{self.path} holds a finished run; choose another or use --fresh")

    def claim(self, settings: dict[str, Any], *, fresh: bool) -> None:
        """Keep the settings beside the checkpoints: others must not go on with them.

        Args:
            settings: what the run's result depends on.
            fresh: first discard a run that is there, finished or not.

        Raises:
            ConfigError: if the folder holds a run with other settings.
        """
        if fresh:
            self._discard()
        settings = json.loads(json.dumps(settings))
        kept = self._read(self.checkpoints / _SETTINGS)
        if kept is not None and kept != settings:
            names = [name for name in settings if kept.get(name) != settings[name]]
            raise ConfigError(
                f"{self.path} holds a run with other settings ({', '.join(names)}); choose "
                "another folder or use --fresh"
            )
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        _write(self.checkpoints / _SETTINGS, settings)

    @property
    def before(self) -> Any:
        """What was measured before the run's first part; None if nothing was yet."""
        return self._read(self.checkpoints / _BEFORE)

    @before.setter
    def before(self, measured: Any) -> None:
        _write(self.checkpoints / _BEFORE, measured)

    def finish(self, record: dict[str, Any]) -> None:
        """Write what the run says of itself, then drop the checkpoints."""
        files = sorted(path.name for path in self.path.iterdir() if path.is_file())
        _write(self.path / RECORD, {**record, "files": files})
        shutil.rmtree(self.checkpoints)

    def _discard(self) -> None:
        """Remove what a run wrote, and nothing else that lies there."""
        record = self._read(self.path / RECORD) or {}
        for name in (*record.get("files", ()), RECORD):
            (self.path / Path(name).name).unlink(missing_ok=True)
        if (self.checkpoints / _SETTINGS).exists():
            shutil.rmtree(self.checkpoints)

    def _read(self, path: Path) -> Any:
        """The values of a file; None if there is none, or it was being written at a kill."""
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None


def _write(path: Path, values: Any) -> None:
    text = json.dumps(values, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
