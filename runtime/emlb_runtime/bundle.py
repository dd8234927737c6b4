"""A bundle: the folder that export writes and the runtime loads, checked before anything runs.

A bundle is data. Its ``config.json`` names every file with its size and SHA-256; names are
plain, symbolic links are refused, nothing else in the folder is read, and what was checked
is what is used: files are read once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BundleError, ConfigError
from .pipeline import Special
from .schema import Task
from .windows import WindowConfig

FORMAT = 1
CONFIG_NAME = "config.json"
MAX_CONFIG_BYTES = 4 << 20
MAX_FILE_BYTES = 2 << 30
PRECISIONS = ("int8", "fp16", "fp32")
DEFAULT_MODEL = Path(__file__).parent / "models" / "emlb-clinical-small"

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class BundleConfig:
    """What ``config.json`` says.

    Attributes:
        name: of the model.
        version: of the model.
        description: one line.
        tasks: what it extracts.
        windows: how notes are cut.
        special: the tokens that frame a window.
        encoders: file per precision.
        default_precision: the one to run unless asked otherwise.
        relations: file per task that has relations.
        crf: file with the tasks' CRF scores.
        tokenizer: file of the tokenizer.
        files: per file its size in bytes and SHA-256.
        width: of the encoder's hidden states.
        provenance: base, data and settings it was trained from.
        scores: measured scores, per precision.
    """

    name: str
    version: str
    description: str
    tasks: tuple[Task, ...]
    windows: WindowConfig
    special: Special
    encoders: Mapping[str, str]
    default_precision: str
    relations: Mapping[str, str]
    crf: str
    tokenizer: str
    files: Mapping[str, tuple[int, str]]
    width: int
    provenance: Mapping[str, Any]
    scores: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The values of ``config.json``."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "tasks": [task.to_json() for task in self.tasks],
            "windows": {
                "max_pieces": self.windows.max_pieces,
                "overlap": self.windows.overlap,
            },
            "special": {
                "cls": self.special.cls,
                "sep": self.special.sep,
                "pad": self.special.pad,
            },
            "encoders": dict(self.encoders),
            "default_precision": self.default_precision,
            "relations": dict(self.relations),
            "crf": self.crf,
            "tokenizer": self.tokenizer,
            "files": {
                name: {"bytes": size, "sha256": digest}
                for name, (size, digest) in sorted(self.files.items())
            },
            "width": self.width,
            "provenance": dict(self.provenance),
            "scores": dict(self.scores),
        }

    @classmethod
    def from_json(cls, values: Any) -> BundleConfig:
        """The inverse of ``to_json``.

        Raises:
            BundleError: if the format version is unknown or a value missing or malformed.
        """
        if not isinstance(values, Mapping):
            raise BundleError(f"{CONFIG_NAME} is not a JSON object")
        if values.get("format") != FORMAT:
            raise BundleError(
                f"{CONFIG_NAME} has format version {str(values.get('format'))[:20]}; this "
                f"runtime reads version {FORMAT}: export the model again or update EMLB"
            )
        try:
            config = cls(
                name=str(values["name"]),
                version=str(values["version"]),
                description=str(values["description"]),
                tasks=tuple(Task.from_json(task) for task in values["tasks"]),
                windows=WindowConfig(**{k: int(v) for k, v in values["windows"].items()}),
                special=Special(**{k: int(v) for k, v in values["special"].items()}),
                encoders={str(k): str(v) for k, v in values["encoders"].items()},
                default_precision=str(values["default_precision"]),
                relations={str(k): str(v) for k, v in values["relations"].items()},
                crf=str(values["crf"]),
                tokenizer=str(values["tokenizer"]),
                files={
                    str(name): (int(entry["bytes"]), str(entry["sha256"]))
                    for name, entry in values["files"].items()
                },
                width=int(values["width"]),
                provenance=dict(values["provenance"]),
                scores=dict(values["scores"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BundleError(
                f"{CONFIG_NAME} is incomplete or malformed ({type(error).__name__}: {error})"
            ) from None
        except ConfigError as error:
            raise BundleError(f"{CONFIG_NAME}: {error}") from None
        config._check()
        return config

    def _check(self) -> None:
        used = [*self.encoders.values(), *self.relations.values(), self.crf, self.tokenizer]
        for name in (*used, *self.files):
            if not _PLAIN_NAME.fullmatch(name) or name == CONFIG_NAME:
                raise BundleError(f"{CONFIG_NAME} names {name[:80]!r}: not a plain file name")
        for name in used:
            if name not in self.files:
                raise BundleError(f"{CONFIG_NAME} uses {name} but states no size and hash for it")
        for name, (size, digest) in self.files.items():
            if not 0 < size < MAX_FILE_BYTES or not _SHA256.fullmatch(digest):
                raise BundleError(f"{CONFIG_NAME} states an impossible size or hash for {name}")
        if unknown := set(self.encoders) - set(PRECISIONS):
            raise BundleError(f"{CONFIG_NAME} has unknown precisions: {', '.join(sorted(unknown))}")
        if self.default_precision not in self.encoders:
            raise BundleError(f"{CONFIG_NAME}: no encoder of precision {self.default_precision}")
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) != len(names):
            raise BundleError(f"{CONFIG_NAME} has no task, or two of one name")
        for task in self.tasks:
            if task.relation_types and task.name not in self.relations:
                raise BundleError(f"{CONFIG_NAME}: no relation head for task {task.name}")
        if not 0 < self.width <= 65536:
            raise BundleError(f"{CONFIG_NAME} states an impossible width")


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose configuration has been checked.

    Attributes:
        folder: where it lies.
        config: what it says.
    """

    folder: Path
    config: BundleConfig

    @classmethod
    def load(cls, folder: str | Path | None = None) -> Bundle:
        """Read and check the configuration, and that every file is there at its size.

        Args:
            folder: the bundle; None is the default model that comes with the runtime.

        Raises:
            BundleError: naming the folder, the file and the reason.
        """
        path = DEFAULT_MODEL if folder is None else Path(folder)
        if not path.is_dir():
            raise BundleError(f"{path}: there is no such bundle folder")
        try:
            text = _read_plain(path / CONFIG_NAME, MAX_CONFIG_BYTES)
            config = BundleConfig.from_json(json.loads(text.decode("utf-8")))
            for name, (size, _) in config.files.items():
                _check_plain(path / name)
                if (path / name).stat().st_size != size:
                    raise BundleError(f"{name} is not of the size that {CONFIG_NAME} states")
        except (ValueError, RecursionError):
            raise BundleError(f"{path}: {CONFIG_NAME} is not valid JSON") from None
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None
        return cls(path, config)

    def read(self, name: str) -> bytes:
        """The bytes of one of the bundle's files, their hash checked.

        Raises:
            BundleError: if the file changed since the bundle was written.
        """
        size, digest = self.config.files[name]
        try:
            data = _read_plain(self.folder / name, size)
        except BundleError as error:
            raise BundleError(f"{self.folder}: {error}") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise BundleError(
                f"{self.folder}: {name} is not the file that {CONFIG_NAME} describes (its "
                "SHA-256 differs): copy or export the bundle again"
            )
        return data

    def verify(self) -> None:
        """Check the hash of every file.

        Raises:
            BundleError: if one differs.
        """
        for name in self.config.files:
            self.read(name)


def _check_plain(path: Path) -> None:
    if path.is_symlink():
        raise BundleError(f"{path.name} is a symbolic link; a bundle holds plain files only")
    if not path.is_file():
        raise BundleError(f"{path.name} is missing")


def _read_plain(path: Path, limit: int) -> bytes:
    _check_plain(path)
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}") from None
    if len(data) > limit:
        raise BundleError(f"{path.name} is larger than {limit:,} bytes")
    return data
