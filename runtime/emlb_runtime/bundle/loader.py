"""A bundle: the folder that export writes and the runtime loads, checked before anything runs.

A bundle is data. Its ``config.json`` names every file with its size and SHA-256; names are
plain, symbolic links are refused, nothing else in the folder is read, and what was checked
is what is used: each file is opened once, and the bytes that were hashed and looked into are
those that the libraries get.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from emlb_runtime.errors import BundleError
from emlb_runtime.inference.weights import Given, Weights
from emlb_runtime.machine.threads import start_threads, worker_pool

from .checks.graph import Network, read_network
from .checks.networks import check_attributes, check_encoder, check_relations
from .checks.scores import check_scores
from .checks.tokenizer_json import check_tokenizer
from .config import CONFIG_NAME, FORMAT, MAX_CONFIG_BYTES, PRECISIONS, BundleConfig

__all__ = [
    "CONFIG_NAME",
    "DEFAULT_MODEL",
    "FORMAT",
    "PRECISIONS",
    "Bundle",
    "BundleConfig",
    "Contents",
]

DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "emlb-clinical-small"

# A link that takes a file's place between two looks at it is not followed, and a pipe that
# does is not waited for.
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Contents:
    """The checked bytes of a bundle's files, to be given to the libraries.

    Attributes:
        encoder: ONNX file of one precision.
        relations: ONNX file per task that has relations.
        attributes: ONNX file per task whose mentions have attributes.
        crf: safetensors file.
        tokenizer: JSON file.
        given: per ONNX file the weights that it reads; empty where graphs hold their own.
    """

    encoder: bytes
    relations: Mapping[str, bytes]
    crf: bytes
    tokenizer: bytes
    attributes: Mapping[str, bytes] = field(default_factory=dict)
    given: Mapping[str, Given] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose configuration has been checked.

    Attributes:
        folder: where it lies.
        config: what it says.
    """

    folder: Path
    config: BundleConfig
    _ahead: dict[str, tuple[Future[bytes], Future[None]]] = field(
        default_factory=dict, repr=False, compare=False
    )

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
            config = BundleConfig.parse(_read_plain(path / CONFIG_NAME, None))
            for name, (size, _) in config.files.items():
                _check_plain(path / name, size)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None
        return cls(path, config)

    def read_ahead(self) -> None:
        """Begin to read and hash the weights, in a thread, for the next ``contents``."""
        name = self.config.weights
        if name is None:
            return
        pool, _ = start_threads(1, "emlb-read")
        data = pool.submit(self._read, name)
        self._ahead[name] = data, pool.submit(lambda: self._check_hash(name, data.result()))
        pool.shutdown(wait=False)

    def read(self, name: str) -> bytes:
        """The bytes of one of the bundle's files, their hash checked.

        Raises:
            BundleError: if the file changed since the bundle was written.
        """
        data = self._read(name)
        self._check_hash(name, data)
        return data

    def whole(self, name: str) -> bytes:
        """One of the bundle's graphs with its weights in it, as any ONNX tool can read it.

        Raises:
            BundleError: if the graph or the weights are not what they should be.
        """
        data = self.read(name)
        if self.config.weights is None:
            return data
        weights = Weights(self.read(self.config.weights))
        return Given(weights, read_network(data, weights.shapes).weights).whole(data)

    def contents(self, precision: str) -> Contents:
        """The bytes of the files that one precision needs, checked as far as can be told.

        Hashes are computed in a second thread while the bytes are looked into; a file that
        fails both is reported as altered.

        Args:
            precision: one of ``config.encoders``.

        Raises:
            BundleError: naming the folder, the file and the reason.
        """
        with worker_pool(1, "emlb-hash") as pool:
            return _Opener(self, pool).contents(precision)

    def verify(self) -> None:
        """Check every file, named by a role or not.

        Raises:
            BundleError: if one differs from its hash, or is not what its role asks.
        """
        for name in self.config.files:
            self.read(name)
        for precision in self.config.encoders:
            self.contents(precision)

    def _read(self, name: str) -> bytes:
        try:
            return _read_plain(self.folder / name, self.config.files[name][0])
        except BundleError as error:
            raise BundleError(f"{self.folder}: {error}") from None

    def _check_hash(self, name: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != self.config.files[name][1]:
            raise BundleError(
                f"{self.folder}: {name} is not the file that {CONFIG_NAME} describes (its "
                "SHA-256 differs): copy or export the bundle again"
            )


class _Opener:
    """Reads a bundle's files, the largest first, so that it is hashed beside all the rest."""

    def __init__(self, bundle: Bundle, pool: Executor) -> None:
        self._bundle = bundle
        self._pool = pool
        self._hashes: list[Future[None]] = []
        self._weights: Weights | None = None
        self._given: dict[str, Given] = {}

    def contents(self, precision: str) -> Contents:
        config = self._bundle.config
        name, weights_name = config.encoders[precision], config.weights
        try:
            if weights_name is not None:
                weights = self._read(weights_name)
                self._weights = self._check(weights_name, lambda: Weights(weights))
            encoder = self._read(name)
            network = self._network(name, encoder)
            kind = self._check(
                name, lambda: check_encoder(network, width=config.width, labels=config.labels)
            )
            relations = {
                task: self._relations(task, file, kind)
                for task, file in config.relations_of(precision).items()
            }
            attributes = {
                task: self._attributes(task, file, kind)
                for task, file in config.attributes_of(precision).items()
            }
            crf, tokenizer = self._read(config.crf), self._read(config.tokenizer)
            self._check(config.crf, lambda: check_scores(crf, labels=config.labels))
            self._check(config.tokenizer, lambda: self._tokenizer(tokenizer, network))
        finally:
            for pending in self._hashes:
                pending.result()
        return Contents(encoder, relations, crf, tokenizer, attributes, self._given)

    def _network(self, name: str, data: bytes) -> Network:
        weights = self._weights
        shapes = weights.shapes if weights else {}
        holder = self._bundle.config.weights or f"{CONFIG_NAME} any weights"
        network = self._check(name, lambda: read_network(data, shapes, holder=holder))
        if weights and network.weights:
            self._given[name] = Given(weights, network.weights)
        return network

    def _relations(self, task: str, name: str, kind: int) -> bytes:
        data, config = self._read(name), self._bundle.config
        n_relations = {task.name: len(task.relation_types) for task in config.tasks}[task]
        network = self._network(name, data)
        self._check(
            name,
            lambda: check_relations(
                network, width=config.width, n_relations=n_relations, hidden_kind=kind
            ),
        )
        return data

    def _attributes(self, task: str, name: str, kind: int) -> bytes:
        data, config = self._read(name), self._bundle.config
        n_values = {task.name: task.n_attribute_values for task in config.tasks}[task]
        network = self._network(name, data)
        self._check(
            name,
            lambda: check_attributes(
                network, width=config.width, n_values=n_values, hidden_kind=kind
            ),
        )
        return data

    def _tokenizer(self, data: bytes, encoder: Network) -> None:
        special = self._bundle.config.special
        check_tokenizer(
            data,
            special=(special.cls, special.sep, special.pad),
            rows=encoder.rows.get("input_ids"),
        )

    def _read(self, name: str) -> bytes:
        if begun := self._bundle._ahead.pop(name, None):
            self._hashes.append(begun[1])
            return begun[0].result()
        data = self._bundle._read(name)
        self._hashes.append(self._pool.submit(self._bundle._check_hash, name, data))
        return data

    def _check(self, name: str, check: Callable[[], _Found]) -> _Found:
        try:
            return check()
        except BundleError as error:
            raise BundleError(f"{self._bundle.folder}: {name}: {error}") from None


def _check_plain(path: Path, size: int | None) -> None:
    """Refuse what is no plain file, before it is opened: opening a device may do something."""
    try:
        _check_status(path.name, path.lstat(), size)
    except FileNotFoundError:
        raise BundleError(f"{path.name} is missing") from None
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}") from None


def _check_status(name: str, status: os.stat_result, size: int | None) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise BundleError(f"{name} is a symbolic link; a bundle holds plain files only")
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{name} is not a plain file")
    if size is None and status.st_size > MAX_CONFIG_BYTES:
        raise BundleError(f"{name} is larger than {MAX_CONFIG_BYTES:,} bytes")
    if size is not None and status.st_size != size:
        raise BundleError(f"{name} is not of the size that {CONFIG_NAME} states")


def _read_plain(path: Path, size: int | None) -> bytes:
    """A plain file of that size; None is one of any size up to that of a configuration."""
    _check_plain(path, size)
    try:
        with open(os.open(path, _OPEN_FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            _check_status(path.name, status, size)
            data = file.read(status.st_size + 1)
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}") from None
    if len(data) != status.st_size:
        raise BundleError(f"{path.name} changed while it was read")
    return data
