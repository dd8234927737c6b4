"""The extractor: a bundle made ready to read notes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bundle import Bundle
from .crf import Crf
from .errors import BundleError, ConfigError
from .machine import available_cores as available_cores
from .pipeline import Head, Pipeline
from .plan import make_plan
from .providers import PROVIDERS
from .records import Document, ErrorRecord, Note
from .session import DEVICES, OnnxBackend, open_session
from .tokens import make_plain

CHUNK_CHARACTERS = 16_000
"""Notes are handed to a worker together until they are about this long."""

CHUNK_NOTES = 64


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


Result = Document | ErrorRecord


class Extractor:
    """Extracts documents from notes; safe to call from many threads.

    Make one with ``Extractor.load``.
    """

    def __init__(self, pipeline: Pipeline, info: ExtractorInfo) -> None:
        self._pipeline = pipeline
        self._info = info
        # Two pools: chunks of notes, and their windows. With one, chunks that wait for their
        # windows could hold every thread. A chunk more than there are workers is under way, so
        # that the network runs while another chunk is tokenised or decoded.
        self._notes = ThreadPoolExecutor(info.workers + 1, thread_name_prefix="emlb-notes")
        self._windows = ThreadPoolExecutor(info.workers, thread_name_prefix="emlb-windows")

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
    ) -> Extractor:
        """Check a bundle and open its networks. No network access, ever.

        Args:
            bundle: its folder; None is the default model that comes with the runtime.
            provider: ``auto`` (CUDA where it is to be had and the bundle has an encoder for it,
                else the CPU), ``cpu``, ``cuda``, ``tensorrt``, ``openvino`` or ``coreml``.
            precision: which encoder; None is the bundle's own choice, on a GPU fp16 or fp32.
            workers: windows encoded at a time; None is one per core, and one on a GPU.
            min_score: entities and relations less probable are left out.
            batch: windows per run of the network; None is 1 on a CPU, where padding only
                costs, and more on a GPU.

        Raises:
            BundleError: if the bundle is incomplete, altered or of another version.
            BackendError: if the provider asked for is not to be had.
            ConfigError: if an option is out of range or the precision not in the bundle.
        """
        for name, value in (("workers", workers), ("batch", batch)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        if not 0.0 <= min_score <= 1.0:
            raise ConfigError(f"min_score is {min_score}; it must lie between 0 and 1")
        checked = Bundle.load(bundle)
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
        return cls(pipeline, info)

    @property
    def info(self) -> ExtractorInfo:
        """What runs: model, precision, provider."""
        return self._info

    @property
    def pipeline(self) -> Pipeline:
        """The stages that run, without the workers."""
        return self._pipeline

    def extract(self, text: str, *, name: str = "") -> Document:
        """Extract one note, its windows spread over the workers.

        Args:
            text: of any length.
            name: what the document's note is called.
        """
        return self._pipeline.run([Note(name, text)], executor=self._windows)[0]

    def extract_many(self, notes: Iterable[Note | str]) -> Iterator[Document]:
        """Extract notes lazily, in input order, in bounded memory.

        Args:
            notes: notes, or texts, which are named by their position from 0.

        Raises:
            Whatever a note raises, in its turn; ``extract_each`` goes on instead.
        """
        named = (
            note if isinstance(note, Note) else Note(str(number), note)
            for number, note in enumerate(notes)
        )
        for result in self._stream(named, self._run):
            assert isinstance(result, Document)
            yield result

    def extract_each(self, notes: Iterable[Note | ErrorRecord]) -> Iterator[Result]:
        """Extract notes; one that fails costs its own error record and nothing else.

        Args:
            notes: notes, and error records that are passed on in their place.
        """
        return self._stream(notes, self._run_each)

    def _stream(
        self,
        items: Iterable[Note | ErrorRecord],
        work: Callable[[Sequence[Note | ErrorRecord]], list[Result]],
    ) -> Iterator[Result]:
        """Chunks through the workers, a few ahead of the reader."""
        ahead: deque[Future[list[Result]]] = deque()
        try:
            for chunk in note_chunks(items):
                ahead.append(self._notes.submit(work, chunk))
                if len(ahead) > self._info.workers + 1:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()

    def _run(self, chunk: Sequence[Note | ErrorRecord]) -> list[Result]:
        notes = [item for item in chunk if isinstance(item, Note)]
        found = iter(self._pipeline.run(notes, executor=self._windows))
        return [next(found) if isinstance(item, Note) else item for item in chunk]

    def _run_each(self, chunk: Sequence[Note | ErrorRecord]) -> list[Result]:
        try:
            return self._run(chunk)
        except Exception:  # which note it was shows when each runs alone
            return [self._run_alone(item) for item in chunk]

    def _run_alone(self, item: Note | ErrorRecord) -> Result:
        if isinstance(item, ErrorRecord):
            return item
        try:
            return self._run([item])[0]
        except Exception as error:  # its own text may quote the note: only its kind is told
            return ErrorRecord(item.name, f"extraction failed: {type(error).__name__}")


def load_pipeline(
    bundle: Bundle,
    *,
    provider: str = PROVIDERS["cpu"],
    relations_provider: str | None = None,
    precision: str | None = None,
    min_score: float = 0.0,
    batch: int = 1,
    threads: int = 1,
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
    """
    config = bundle.config
    precision = precision or config.default_precision
    config.check_precision(precision)
    heads_on = relations_provider or provider
    contents = bundle.contents(precision)

    def session(name: str, data: bytes, on: str) -> Any:
        return open_session(data, on, threads=threads, name=name)

    with ThreadPoolExecutor(1) as pool:  # opening the encoder takes as long as all the rest
        encoder = pool.submit(session, config.encoders[precision], contents.encoder, provider)
        tokenizer = _load_tokenizer(bundle, contents.tokenizer)
        relations = {
            task: session(name, contents.relations[task], heads_on)
            for task, name in config.relations.items()
        }
        backend = OnnxBackend(
            encoder.result(),
            relations,
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


def note_chunks(items: Iterable[Note | ErrorRecord]) -> Iterator[list[Note | ErrorRecord]]:
    """Notes and records in order, in chunks of about ``CHUNK_CHARACTERS``."""
    chunk: list[Note | ErrorRecord] = []
    characters = 0
    for item in items:
        chunk.append(item)
        characters += len(item.text) if isinstance(item, Note) else 0
        if characters >= CHUNK_CHARACTERS or len(chunk) >= CHUNK_NOTES:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
