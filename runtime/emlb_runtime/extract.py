"""The extractor: a bundle made ready to read notes."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .bundle.loader import Bundle
from .decoding.crf import Crf
from .errors import BackendError, BundleError, ConfigError
from .extraction.arguments import Unusable, check_many, check_text, name_notes
from .extraction.forks import Networks, watch_forks
from .extraction.recipe import Recipe, RecipeCache
from .extraction.session_plan import make_plan, products_for
from .extraction.stream import Result, Team, start_team, stream, work_each, work_in_turn
from .inference.arithmetic import Products
from .inference.onnx_backend import DEVICES, OnnxBackend, open_session
from .inference.providers import PROVIDERS, short_name
from .machine.info import available_cores as available_cores
from .machine.threads import worker_pool
from .pipeline import Head, Pipeline
from .records import Document, ErrorRecord, Note
from .text.tokens import make_plain

__all__ = ["Extractor", "ExtractorInfo", "Result", "available_cores", "load_pipeline"]

_log = logging.getLogger("emlb_runtime")


@dataclass(frozen=True)
class ExtractorInfo:
    """What runs.

    Attributes:
        name: of the model.
        version: of the model.
        precision: of the encoder.
        provider: ONNX Runtime's name of the execution provider.
        workers: windows encoded at a time.
        tasks: names of the tasks.
        batch: windows per run of the network.
        asked: the provider that was asked for; ``auto`` left the choice to EMLB.
        notes: sentences about that choice and its limits: what runs elsewhere after all, or
            less exactly than elsewhere.
    """

    name: str
    version: str
    precision: str
    provider: str
    workers: int
    tasks: tuple[str, ...]
    batch: int = 1
    asked: str = "auto"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Opened:
    """A bundle whose networks are open, how that was done, and what runs."""

    networks: Networks
    recipe: Recipe
    info: ExtractorInfo


_unpickled: RecipeCache[_Opened] = RecipeCache()


class Extractor:
    """Extracts documents from notes; safe to call from many threads.

    Make one with ``Extractor.load``. It ends with a ``with`` block, with ``close``, or when
    nothing refers to it any more.

    A forked child may use its parent's extractor: it starts threads of its own, and loads the
    bundle again only if the parent was extracting at the moment of the fork. Pickled, an
    extractor is the arguments of ``load``, with an absolute path; what unpickles it loads the
    bundle, once per process.
    """

    def __init__(self, opened: _Opened) -> None:
        self._opened: _Opened | None = opened
        self._recipe = opened.recipe
        self._info = opened.info
        self._lock = threading.Lock()
        self._team: Team | None = None
        watch_forks(self)

    @classmethod
    def load(
        cls,
        bundle: str | Path | None = None,
        *,
        provider: str = "auto",
        precision: str | None = None,
        workers: int | None = None,
        min_score: float = 0.0,
        batch: int | None = None,
    ) -> Self:
        """Check a bundle and open its networks. No network access, ever.

        Args:
            bundle: its folder; None is the default model that comes with the runtime.
            provider: ``auto`` (CUDA where it is available and the bundle has an encoder for it,
                else the CPU), ``cpu``, ``cuda``, ``tensorrt``, ``openvino`` or ``coreml``.
            precision: which encoder; None is the bundle's own choice, on a GPU fp16 or fp32.
            workers: windows encoded at a time; None is one per core, and one on a GPU.
            min_score: entities and relations less probable are left out.
            batch: windows per run of the network; None is 1 on a CPU, where padding only
                costs, and more on a GPU.

        Raises:
            BundleError: if the bundle is incomplete, altered or of another version.
            BackendError: if the provider asked for is not available.
            ConfigError: if an option is out of range or the precision not in the bundle.
        """
        for name, value in (("workers", workers), ("batch", batch)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        if not 0.0 <= min_score <= 1.0:
            raise ConfigError(f"min_score is {min_score}; it must lie between 0 and 1")
        checked = Bundle.load(bundle)
        checked.read_ahead()  # while ONNX Runtime is imported
        config = checked.config
        plan = make_plan(
            config, provider=provider, precision=precision, workers=workers, batch=batch
        )
        pipeline = load_pipeline(
            checked,
            provider=plan.provider,
            relations_provider=plan.relations_provider,
            precision=plan.precision,
            min_score=min_score,
            batch=plan.batch,
            products=plan.products,
        )
        backend = pipeline.backend
        info = ExtractorInfo(
            name=config.name,
            version=config.version,
            precision=backend.precision,
            provider=backend.provider,
            workers=plan.workers,
            tasks=tuple(task.name for task in config.tasks),
            batch=plan.batch,
            asked=plan.asked,
            notes=(*plan.notes, *(backend.notes() if isinstance(backend, OnnxBackend) else ())),
        )
        recipe = Recipe(
            bundle=None if bundle is None else os.path.abspath(bundle),
            provider=provider,
            precision=precision,
            workers=workers,
            min_score=min_score,
            batch=batch,
        )
        networks = Networks(pipeline, survives=plan.provider == PROVIDERS["cpu"])
        return cls(_Opened(networks, recipe, info))

    @property
    def info(self) -> ExtractorInfo:
        """What runs: model, precision, provider."""
        return self._info

    @property
    def recipe(self) -> Recipe:
        """The arguments of ``load`` that it was made with."""
        return self._recipe

    @property
    def tells_facts(self) -> bool:
        """Whether the model tells which relations are facts."""
        tasks = [head.task for head in self.pipeline.heads]
        return any(attribute.nonfactual for task in tasks for attribute in task.attributes)

    @property
    def pipeline(self) -> Pipeline:
        """The stages that run, without the workers."""
        with self._lock:
            return self._networks().pipeline

    def extract(self, text: str, *, name: str = "") -> Document:
        """Extract one note, its windows spread over the workers.

        Args:
            text: of any length.
            name: what the document's note is called.

        Raises:
            TypeError: if the text is no ``str``.
            RuntimeError: if the extractor is closed.
        """
        note = Note(name, check_text(text))
        team = self._get_team()
        try:
            return team.run([note])[0]
        except RuntimeError:
            self._get_team()  # says so if the threads were closed meanwhile
            raise

    def extract_many(self, notes: Iterable[Note | str]) -> Iterator[Document]:
        """Extract notes lazily, in input order, in bounded memory.

        Args:
            notes: notes, or texts, which are named by their position from 0.

        Raises:
            TypeError: if ``notes`` is a single note or a table; and in its turn, with its
                position, for an item that is no note.
            RuntimeError: if the extractor is closed.
            Exception: whatever a note raises, in its turn; ``extract_each`` goes on instead.
        """
        items = name_notes(check_many(notes, "extract_many"), records=False)
        self._check_open()
        return self._in_turn(items)

    def extract_each(self, notes: Iterable[Note | str | ErrorRecord]) -> Iterator[Result]:
        """Extract notes; one that fails costs its own error record and nothing else.

        Args:
            notes: notes, texts, which are named by their position from 0, and error records,
                which are passed on in their place. An item of another type has an error record.

        Raises:
            TypeError: if ``notes`` is a single note or a table.
            RuntimeError: if the extractor is closed.
        """
        items = name_notes(check_many(notes, "extract_each"))
        self._check_open()
        records = (item.to_record() if isinstance(item, Unusable) else item for item in items)
        return stream(records, work_each, self._get_team)

    def close(self) -> None:
        """End the threads and let the networks go; notes that are being extracted are finished.

        May be called more than once. Afterwards only ``info`` can be used.
        """
        with self._lock:
            opened, self._opened = self._opened, None
            team, self._team = self._team, None
        if team is not None:
            team.close()
        if opened is not None:
            _unpickled.forget(opened.networks)

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[Recipe], Extractor], tuple[Recipe]]:
        return _unpickle, (self._recipe,)

    def _after_fork(self) -> None:
        """The threads stayed in the parent; ``os.fork`` calls this in the child."""
        self._lock = threading.Lock()
        self._team = None

    def _in_turn(self, items: Iterable[Note | ErrorRecord | Unusable]) -> Iterator[Document]:
        for result in stream(items, work_in_turn, self._get_team):
            if isinstance(result, Exception):
                raise result
            yield result

    def _check_open(self) -> None:
        if self._opened is None:
            raise RuntimeError("this Extractor is closed: load another with Extractor.load()")

    def _get_team(self) -> Team:
        """This process's threads, started when they are first needed."""
        with self._lock:
            networks = self._networks()
            if self._team is None:
                self._team = start_team(networks, self._info.workers)
                if shortage := self._team.shortage:
                    self._info = replace(
                        self._info,
                        workers=self._team.workers,
                        notes=(*self._info.notes, shortage),
                    )
                    _log.warning("%s", shortage)
            return self._team

    def _networks(self) -> Networks:
        """The networks, loaded again if a fork spoilt them; the lock is held."""
        self._check_open()
        assert self._opened is not None
        if self._opened.networks.is_spoilt:
            if self._info.provider in DEVICES:
                raise BackendError(
                    f"{short_name(self._info.provider)} cannot be used in a process that was "
                    "forked after the model was loaded: load it in each process, or start "
                    "processes by multiprocessing's spawn method"
                )
            self._opened = _open(self._recipe)
        return self._opened.networks


def _open(recipe: Recipe) -> _Opened:
    opened = Extractor.load(**asdict(recipe))._opened
    assert opened is not None
    return opened


def _unpickle(recipe: Recipe) -> Extractor:
    """An extractor with threads of its own, on networks that are loaded once per process."""
    return Extractor(_unpickled.get(recipe, lambda: _open(recipe)))


def load_pipeline(
    bundle: Bundle,
    *,
    provider: str = PROVIDERS["cpu"],
    relations_provider: str | None = None,
    precision: str | None = None,
    min_score: float = 0.0,
    batch: int = 1,
    threads: int = 1,
    products: Products | None = None,
) -> Pipeline:
    """A bundle's pipeline on ONNX sessions; see ``Extractor.load``.

    Args:
        bundle: checked.
        provider: ONNX Runtime's name of it.
        relations_provider: the relation heads'; None is the encoder's.
        precision: which encoder.
        min_score: see ``Extractor.load``.
        batch: windows per run.
        threads: within one run.
        products: the kind of int8's products; None is the fastest that is exact here.

    Raises:
        BackendError: if int8 is not exact on this machine.
    """
    config = bundle.config
    precision = precision or config.default_precision
    config.check_precision(precision)
    heads_on = relations_provider or provider
    kind = products or products_for(config, precision) or "u8s8"
    contents = bundle.contents(precision)

    def session(name: str, data: bytes, on: str) -> Any:
        given = contents.given.get(name)
        return open_session(data, on, threads=threads, name=name, given=given, products=kind)

    with worker_pool(1, "emlb-load") as pool:  # opening the encoder takes as long as all the rest
        encoder = pool.submit(session, config.encoders[precision], contents.encoder, provider)
        tokenizer = _load_tokenizer(bundle, contents.tokenizer)
        relations = {
            task: session(name, contents.relations[task], heads_on)
            for task, name in config.relations_of(precision).items()
        }
        attributes = {
            task: session(name, contents.attributes[task], heads_on)
            for task, name in config.attributes_of(precision).items()
        }
        backend = OnnxBackend(
            encoder.result(),
            relations,
            attributes,
            provider=provider,
            precision=precision,
            device=DEVICES.get(provider),
        )
    return Pipeline(
        backend,
        tokenizer,
        config.special,
        _load_heads(bundle, contents.crf, precision),
        windows=config.windows,
        min_score=min_score,
        batch=batch,
    )


def _load_tokenizer(bundle: Bundle, data: bytes) -> Any:
    from tokenizers import Tokenizer

    name = bundle.config.tokenizer
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except BaseException as error:  # tokenizers raises bare Exception, and Rust's panics
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise BundleError(f"{bundle.folder}: {name} is not a tokenizer") from error
    make_plain(tokenizer)
    return tokenizer


def _load_heads(bundle: Bundle, data: bytes, precision: str) -> list[Head]:
    from safetensors.numpy import load

    name = bundle.config.crf
    try:
        values = load(data)
        return [
            Head(
                task,
                Crf.constrained(
                    task.scheme,
                    values[f"{task.name}.start"],
                    values[f"{task.name}.end"],
                    values[f"{task.name}.transitions"],
                ),
            )
            for task in bundle.config.tasks_of(precision)
        ]
    except Exception as error:  # safetensors raises its own kinds
        raise BundleError(f"{bundle.folder}: {name} does not fit the tasks") from error
