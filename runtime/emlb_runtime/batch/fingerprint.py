"""What decides a run's output, small enough to keep beside it and to say what has changed.

Settings are kept as they are where they are plain. Choices of patients, names of notes and
what notes hold are kept as hashes only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emlb_runtime import __version__
from emlb_runtime.errors import BundleError
from emlb_runtime.records import ErrorRecord, Note

from .hardware import identify_machine
from .inputs import Input, name_of

if TYPE_CHECKING:
    from emlb_runtime.extract import Extractor

_CHECK = 4
"""Bytes kept of the hash of one name or state: to find what differs. That something does
shows in the hash of all."""


@dataclass(frozen=True)
class Inputs:
    """The identity of a list of inputs.

    Attributes:
        number: of files, tables and inputs that lead to nothing.
        names: hash of all names in their order.
        states: hash of every file's size and time of change, or of what was read.
        checks: a few bytes of the hash of each name and each state, in base64.
        labels: the names, to tell which differs; empty when read from a state file.
    """

    number: int
    names: str
    states: str
    checks: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fingerprint:
    """What decides the bytes of a run's output.

    Attributes:
        settings: options, model and software by their names. The value of one that may
            name a patient is a hash.
        inputs: what is read.
    """

    settings: Mapping[str, str]
    inputs: Inputs

    def to_json(self) -> dict[str, Any]:
        """The values kept in a state file."""
        inputs = self.inputs
        return {
            "settings": dict(self.settings),
            "inputs": {
                "number": inputs.number,
                "names": inputs.names,
                "states": inputs.states,
                "checks": inputs.checks,
            },
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fingerprint:
        """The inverse of ``to_json``.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: if a value is missing or malformed.
        """
        inputs = values["inputs"]
        settings = {str(name): str(value) for name, value in values["settings"].items()}
        return cls(
            settings,
            Inputs(
                int(inputs["number"]),
                str(inputs["names"]),
                str(inputs["states"]),
                str(inputs["checks"]),
            ),
        )

    def differences(self, earlier: Fingerprint) -> list[str]:
        """What differs from an earlier run's, each as a few words that name it."""
        names = [
            *earlier.settings,
            *(name for name in self.settings if name not in earlier.settings),
        ]
        found = []
        for name in names:
            then, now = earlier.settings.get(name, "not set"), self.settings.get(name, "not set")
            if then == now:
                continue
            hidden = then.startswith(_HASHED) or now.startswith(_HASHED)
            found.append(name if hidden else f"{name} ({then} then, {now} now)")
        return found + _different_inputs(earlier.inputs, self.inputs)


_HASHED = "sha256:"


def hashed(values: Sequence[str]) -> str:
    """A setting that may name a patient, as a hash; ``none`` if it is empty."""
    return _HASHED + _sha256(json.dumps(list(values))) if values else "none"


def identify_inputs(files: Sequence[Input]) -> Inputs:
    """The identity of the inputs: their names, and whether they are still what they were.

    A file is known by its size and the time of its last change, down to the nanosecond.
    """
    names, states = hashlib.sha256(), hashlib.sha256()
    checks = bytearray()
    for file in files:
        for value, all_of_them in ((name_of(file), names), (_state(file), states)):
            data = value.encode("utf-8", "surrogatepass")
            digest = hashlib.sha256(data).digest()
            all_of_them.update(digest)
            checks += digest[:_CHECK]
    return Inputs(
        len(files),
        names.hexdigest(),
        states.hexdigest(),
        base64.b64encode(bytes(checks)).decode("ascii"),
        tuple(map(name_of, files)),
    )


def identify_model(folder: Path | None) -> str:
    """A bundle by its name, version and the hash of its configuration, which has all others.

    Args:
        folder: the bundle; None is the default model.

    Raises:
        BundleError: if its configuration cannot be read.
    """
    from emlb_runtime.bundle.loader import CONFIG_NAME, DEFAULT_MODEL

    path = (DEFAULT_MODEL if folder is None else folder) / CONFIG_NAME
    try:
        data = path.read_bytes()
        values = json.loads(data)
        label = f"{values['name']} {values['version']}"
    except (OSError, ValueError, KeyError, TypeError):
        raise BundleError(f"{path} cannot be read") from None
    return f"{label} {hashlib.sha256(data).hexdigest()[:16]}"


def identify_extractor(extractor: Extractor) -> dict[str, str]:
    """What decides an extractor's results: its model and options, and where it runs."""
    info, recipe = extractor.info, extractor.recipe
    return {
        "--min-score": str(recipe.min_score),
        "the model": identify_model(None if recipe.bundle is None else Path(recipe.bundle)),
        "the precision": info.precision,
        "the provider": info.provider,
        "the windows per run": str(info.batch),
        "the machine": identify_machine(info.provider),
    }


def identify_software() -> dict[str, str]:
    """Versions of what makes the output, as far as it is loaded, and limits that were set."""
    found = {
        "EMLB": __version__,
        "Python": platform.python_version(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }
    for name in ("onnxruntime", "tokenizers", "numpy"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            found[name] = str(version)
    limits = {name: value for name, value in os.environ.items() if name.startswith("EMLB_MAX_")}
    return found | dict(sorted(limits.items()))


def _state(file: Input) -> str:
    if isinstance(file, ErrorRecord):
        return f"nothing: {file.error}"
    if isinstance(file, Note):
        return f"text: {file.text}"
    try:
        assert file.path is not None  # standard input was read before
        status = os.stat(file.path)
    except OSError:
        return "not there"
    kind = "table" if file.is_table else "file"
    return f"{kind}: {status.st_size} {status.st_mtime_ns}"


def _different_inputs(then: Inputs, now: Inputs) -> list[str]:
    if (then.names, then.states, then.number) == (now.names, now.states, now.number):
        return []
    before, after = _checks(then), _checks(now)
    if then.names != now.names or then.number != now.number:
        first = _first(before, after, slice(0, _CHECK))
        which = f"from {now.labels[first]} on" if first < len(now.labels) else "at the end"
        return [f"the list of inputs, {which} ({then.number:,} then, {now.number:,} now)"]
    changed = [
        label
        for label, one, other in zip(now.labels, before, after, strict=False)
        if one[_CHECK:] != other[_CHECK:]
    ]
    if not changed:
        return ["a note has changed"]
    more = f" and {len(changed) - 1:,} more" if len(changed) > 1 else ""
    return [f"the note {changed[0]}{more} (size or time of change)"]


def _checks(inputs: Inputs) -> list[bytes]:
    try:
        data = base64.b64decode(inputs.checks, validate=True)
    except ValueError:
        return []
    return [data[start : start + 2 * _CHECK] for start in range(0, len(data), 2 * _CHECK)]


def _first(before: Sequence[bytes], after: Sequence[bytes], part: slice) -> int:
    """Where two lists differ first."""
    pairs = zip(before, after, strict=False)
    return next(
        (place for place, (one, other) in enumerate(pairs) if one[part] != other[part]),
        min(len(before), len(after)),
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
