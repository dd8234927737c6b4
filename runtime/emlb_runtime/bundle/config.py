"""What a bundle's ``config.json`` says, every value of it checked before it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from emlb_runtime.checked_json import check_values, members, parse_json, text, whole
from emlb_runtime.errors import BundleError, ConfigError
from emlb_runtime.inference.arithmetic import PRODUCTS, Products
from emlb_runtime.schema.task import Task
from emlb_runtime.text.special_tokens import SpecialTokens
from emlb_runtime.text.windows import WindowConfig

FORMAT = 4
"""What is written. Versions 1, without calibration, 2, without reach, and 3, whose graphs hold
their weights, are read too."""

FORMATS = (1, 2, 3, 4)
CONFIG_NAME = "config.json"
MAX_CONFIG_BYTES = 1 << 20
MAX_FILE_BYTES = 2 << 30
MAX_TOKENIZER_BYTES = 64 << 20
MAX_CRF_BYTES = 16 << 20
MAX_FILES = 256
MAX_TASKS = 64
MAX_TYPES = 256
MAX_PIECES = 8192
MAX_WIDTH = 65536
PRECISIONS = ("int8", "fp16", "fp32")

_MAX_VALUES = 200_000
_MAX_ID = (1 << 31) - 1
_PLAIN_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
"""Names that Windows takes for devices, whatever follows the dot."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class BundleConfig:
    """What ``config.json`` says.

    Attributes:
        name: of the model.
        version: of the model.
        description: one line.
        tasks: what it extracts.
        tuned: per precision with thresholds and calibration of its own, the tasks with them.
        windows: how notes are cut.
        special: the tokens that frame a window.
        encoders: file per precision.
        default_precision: the one to run unless asked otherwise.
        relations: file per task that has relations; its products are of floats.
        crf: file with the tasks' CRF scores.
        tokenizer: file of the tokenizer.
        files: per file its size in bytes and SHA-256.
        width: of the encoder's hidden states.
        provenance: base, data and settings it was trained from.
        scores: measured scores, per precision.
        weights: file with the weights of all graphs; None if each graph holds its own.
        relations_int8: file per task for int8, where it is another one.
        int8_products: the only kind of products that its int8 graphs take, where these hold
            weights of their own; None where the weights serve every kind.
        attributes: file per task whose mentions have attributes; as for relations.
        attributes_int8: the same in int8.
        architecture: what makes a trainable model of the weights: the arguments of
            ``EmlbConfig`` but tasks and windows; None if unknown.
    """

    name: str
    version: str
    description: str
    tasks: tuple[Task, ...]
    windows: WindowConfig
    special: SpecialTokens
    encoders: Mapping[str, str]
    default_precision: str
    relations: Mapping[str, str]
    crf: str
    tokenizer: str
    files: Mapping[str, tuple[int, str]]
    width: int
    provenance: Mapping[str, Any]
    scores: Mapping[str, Any]
    tuned: Mapping[str, tuple[Task, ...]] = field(default_factory=dict)
    weights: str | None = None
    relations_int8: Mapping[str, str] = field(default_factory=dict)
    int8_products: Products | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    attributes_int8: Mapping[str, str] = field(default_factory=dict)
    architecture: Mapping[str, Any] | None = None

    def relations_of(self, precision: str) -> dict[str, str]:
        """Per task, the file of the relation head that runs beside an encoder."""
        own = self.relations_int8 if precision == "int8" else {}
        return {**self.relations, **own}

    def attributes_of(self, precision: str) -> dict[str, str]:
        """Per task, the file of the attribute head that runs beside an encoder."""
        own = self.attributes_int8 if precision == "int8" else {}
        return {**self.attributes, **own}

    def tasks_of(self, precision: str) -> tuple[Task, ...]:
        """The tasks with the thresholds and calibration of a precision."""
        return self.tuned.get(precision, self.tasks)

    def check_precision(self, precision: str) -> None:
        """Refuse a precision that the bundle has no encoder of.

        Raises:
            ConfigError: naming those that it has.
        """
        if precision not in self.encoders:
            raise ConfigError(
                f"precision {precision} was asked for, but the bundle has "
                f"{', '.join(self.encoders)}"
            )

    @property
    def labels(self) -> dict[str, int]:
        """Per task, the number of its labels."""
        return {task.name: task.scheme.n_labels for task in self.tasks}

    def to_json(self) -> dict[str, Any]:
        """The values of ``config.json``."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "tasks": [task.to_json() for task in self.tasks],
            "tuned": {
                precision: [task.to_json() for task in tasks]
                for precision, tasks in self.tuned.items()
            },
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
            "relations_int8": dict(self.relations_int8),
            **(
                {
                    "attributes": dict(self.attributes),
                    "attributes_int8": dict(self.attributes_int8),
                }
                if self.attributes
                else {}
            ),
            "weights": self.weights,
            "int8_products": self.int8_products,
            "crf": self.crf,
            "tokenizer": self.tokenizer,
            "files": {
                name: {"bytes": size, "sha256": digest}
                for name, (size, digest) in sorted(self.files.items())
            },
            "width": self.width,
            "architecture": None if self.architecture is None else dict(self.architecture),
            "provenance": dict(self.provenance),
            "scores": dict(self.scores),
        }

    @classmethod
    def parse(cls, data: bytes) -> BundleConfig:
        """The configuration in the bytes of a ``config.json``.

        Raises:
            BundleError: naming the file and what is wrong in it.
        """
        try:
            values = parse_json(data, max_values=_MAX_VALUES)
        except BundleError as error:
            raise BundleError(f"{CONFIG_NAME}: {error}") from None
        return cls.from_json(values)

    @classmethod
    def from_json(cls, values: Any) -> BundleConfig:
        """The inverse of ``to_json``.

        Raises:
            BundleError: if the format version is unknown or a value missing or malformed.
        """
        if not isinstance(values, Mapping):
            raise BundleError(f"{CONFIG_NAME} is not a JSON object")
        version = values.get("format")
        if type(version) is not int or version not in FORMATS:
            raise BundleError(
                f"{CONFIG_NAME} has format version {ascii(version)[:20]}; this "
                f"runtime reads versions {FORMATS[0]} to {FORMAT}: export the model again or "
                "update EMLB"
            )
        try:
            check_values(values)
            config = _config(values)
        except KeyError as error:
            raise BundleError(f"{CONFIG_NAME} is incomplete: it lacks {error}") from None
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BundleError(f"{CONFIG_NAME} is malformed ({type(error).__name__})") from None
        except (BundleError, ConfigError) as error:
            raise BundleError(f"{CONFIG_NAME}: {error}") from None
        config._check()
        if unknown := set(values) - set(config.to_json()):
            raise BundleError(f"{CONFIG_NAME} has unknown members: {min(unknown)[:80]!a}")
        return config

    def _check(self) -> None:
        if unknown := {*self.encoders, *self.tuned} - set(PRECISIONS):
            raise BundleError(f"{CONFIG_NAME} has unknown precisions: {', '.join(sorted(unknown))}")
        self._check_files()
        if self.default_precision not in self.encoders:
            raise BundleError(f"{CONFIG_NAME}: no encoder of precision {self.default_precision}")
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) != len(names):
            raise BundleError(f"{CONFIG_NAME} has no task, or two of one name")
        for task in self.tasks:
            if task.relation_types and task.name not in self.relations:
                raise BundleError(f"{CONFIG_NAME}: no relation head for task {task.name}")
        related = {task.name for task in self.tasks if task.relation_types}
        if {*self.relations, *self.relations_int8} - related:
            raise BundleError(f"{CONFIG_NAME}: a relation head of no task that has relations")
        described = {task.name for task in self.tasks if task.attributes}
        if set(self.attributes) != described or set(self.attributes_int8) - described:
            raise BundleError(
                f"{CONFIG_NAME}: the attribute heads are not those of the tasks with attributes"
            )
        for tasks in self.tuned.values():
            if list(map(_schema, tasks)) != list(map(_schema, self.tasks)):
                raise BundleError(f"{CONFIG_NAME}: a precision is tuned for other tasks")

    def _check_files(self) -> None:
        used = [*self.encoders.values(), *self.relations.values(), *self.relations_int8.values()]
        used += [*self.attributes.values(), *self.attributes_int8.values()]
        used += [self.crf, self.tokenizer, *([self.weights] if self.weights is not None else [])]
        for name in (*used, *self.files):
            plain = _PLAIN_NAME.fullmatch(name) and not _DEVICE.fullmatch(name.lower())
            if not plain or name.lower() == CONFIG_NAME:
                raise BundleError(f"{CONFIG_NAME} names {name[:80]!a}: not a plain file name")
        for name in used:
            if name not in self.files:
                raise BundleError(f"{CONFIG_NAME} uses {name} but states no size and hash for it")
        if len(set(used)) != len(used):
            raise BundleError(f"{CONFIG_NAME} uses one file for two things")
        if len({name.lower() for name in self.files}) != len(self.files):
            raise BundleError(f"{CONFIG_NAME} names two files that differ in case only")
        most = {self.crf: MAX_CRF_BYTES, self.tokenizer: MAX_TOKENIZER_BYTES}
        for name, (size, digest) in self.files.items():
            if not 0 < size < most.get(name, MAX_FILE_BYTES) or not _SHA256.fullmatch(digest):
                raise BundleError(f"{CONFIG_NAME} states an impossible size or hash for {name}")


def _config(values: Mapping[str, Any]) -> BundleConfig:
    windows, special = _exactly(values, "windows", 2), _exactly(values, "special", 3)
    description = values["description"]
    if not isinstance(description, str):
        raise BundleError("description is not a text")
    return BundleConfig(
        name=text(values["name"], "name"),
        version=text(values["version"], "version"),
        description=description,
        tasks=_tasks(values["tasks"]),
        windows=WindowConfig(
            max_pieces=whole(windows["max_pieces"], "windows.max_pieces", 1, MAX_PIECES),
            overlap=whole(windows["overlap"], "windows.overlap", 0, MAX_PIECES),
        ),
        special=SpecialTokens(
            **{
                name: whole(special[name], f"special.{name}", 0, _MAX_ID)
                for name in ("cls", "sep", "pad")
            }
        ),
        encoders=_names(values, "encoders"),
        default_precision=text(values["default_precision"], "default_precision"),
        relations=_names(values, "relations"),
        crf=text(values["crf"], "crf"),
        tokenizer=text(values["tokenizer"], "tokenizer"),
        files=_files(values),
        width=_width(values["width"]),
        provenance=members(values["provenance"], "provenance"),
        scores=members(values["scores"], "scores"),
        tuned={
            text(precision, "a key of tuned"): _tasks(tasks)
            for precision, tasks in members(values.get("tuned", {}), "tuned").items()
        },
        weights=None if (weights := values.get("weights")) is None else text(weights, "weights"),
        relations_int8=_names(values, "relations_int8") if "relations_int8" in values else {},
        int8_products=_products(values.get("int8_products")),
        attributes=_names(values, "attributes") if "attributes" in values else {},
        attributes_int8=_names(values, "attributes_int8") if "attributes_int8" in values else {},
        architecture=(
            None
            if (architecture := values.get("architecture")) is None
            else members(architecture, "architecture")
        ),
    )


def _tasks(values: Any) -> tuple[Task, ...]:
    if not isinstance(values, list) or len(values) > MAX_TASKS:
        raise BundleError(f"tasks is not a list of up to {MAX_TASKS}")
    return tuple(map(_task, values))


def _schema(task: Task) -> Task:
    """What a task extracts, whatever it takes to report it."""
    return replace(task, thresholds=None, calibration=None)


def _exactly(values: Mapping[str, Any], name: str, count: int) -> Mapping[str, Any]:
    found = members(values[name], name)
    if len(found) > count:
        raise BundleError(f"{name} has unknown members")
    return found


def _products(value: Any) -> Products | None:
    if value is None:
        return None
    for kind in PRODUCTS:
        if value == kind:
            return kind
    raise BundleError(f"{CONFIG_NAME}: int8_products is not one of {', '.join(PRODUCTS)}")


def _names(values: Mapping[str, Any], name: str) -> dict[str, str]:
    found = members(values[name], name)
    return {text(key, f"a key of {name}"): text(file, name) for key, file in found.items()}


def _files(values: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    found = members(values["files"], "files")
    if len(found) > MAX_FILES:
        raise BundleError(f"files names more than {MAX_FILES}")
    files: dict[str, tuple[int, str]] = {}
    for name, entry in found.items():
        if not isinstance(entry, dict) or set(entry) != {"bytes", "sha256"}:
            raise BundleError("files: a file does not have exactly bytes and sha256")
        if type(entry["bytes"]) is not int or not isinstance(entry["sha256"], str):
            raise BundleError("files: impossible size or hash of a file")
        files[name] = (entry["bytes"], entry["sha256"])
    return files


def _width(value: Any) -> int:
    if type(value) is not int or not 0 < value <= MAX_WIDTH:
        raise BundleError("it states an impossible width")
    return value


def _task(values: Any) -> Task:
    """A task whose types can be shown, and whose numbers are numbers."""
    described = members(values, "a task")
    for what in ("entity_types", "relation_types"):
        types = described[what]
        if not isinstance(types, list) or len(types) > MAX_TYPES:
            raise BundleError(f"{what} is not a list of up to {MAX_TYPES}")
        for name in types:
            if not text(name, f"one of {what}").strip() or name != name.strip():
                raise BundleError(f"one of {what} is empty or has spaces at its ends")
    _check_attributes(described.get("attributes", []))
    for name in ("name", "selection"):
        text(described[name], f"a task's {name}")
    for value in members(described["thresholds"], "thresholds").values():
        if type(value) not in (int, float):
            raise BundleError("no such threshold: one is not a number")
    for reach in members(described.get("reach", {}), "reach").values():
        whole(reach, "a reach", 0, _MAX_ID)
    signatures = described["signatures"]
    if not isinstance(signatures, list) or len(set(map(str, signatures))) != len(signatures):
        raise BundleError("signatures is not a list, or names one twice")
    task = Task.from_json(described)
    if unknown := set(described) - set(task.to_json()):
        raise BundleError(f"task {task.name} has unknown members: {min(unknown)[:80]!a}")
    return task


def _check_attributes(attributes: Any) -> None:
    """Refuse attributes whose names cannot be shown, or that are too many."""
    if not isinstance(attributes, list) or len(attributes) > MAX_TYPES:
        raise BundleError(f"attributes is not a list of up to {MAX_TYPES}")
    for attribute in attributes:
        described = members(attribute, "an attribute")
        text(described["name"], "an attribute's name")
        values = described["values"]
        if not isinstance(values, list) or len(values) > MAX_TYPES:
            raise BundleError(f"an attribute's values are not a list of up to {MAX_TYPES}")
        for value in values:
            text(value, "an attribute's value")
