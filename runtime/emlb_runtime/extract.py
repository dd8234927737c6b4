"""The extractor: a bundle made ready to read notes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bundle import Bundle
from .crf import Crf
from .errors import BundleError, ConfigError
from .pipeline import Head, Pipeline
from .records import Document, ErrorRecord, Note
from .session import PROVIDERS, OnnxBackend, choose_provider, import_onnxruntime, open_session

CHUNK_CHARACTERS = 16_000
"""Notes are handed to a worker together until they are about this long."""

CHUNK_NOTES = 64
GPU_BATCH = 32


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
    """

    name: str
    version: str
    precision: str
    provider: str
    workers: int
    tasks: tuple[str, ...]


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
            provider: ``auto`` (CUDA where the installed ONNX Runtime has it), ``cpu`` or
                ``cuda``.
            precision: which encoder; None is the bundle's own choice.
            workers: windows encoded at a time; None is one per core.
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
        chosen = choose_provider(provider, import_onnxruntime().get_available_providers())
        on_cpu = chosen == PROVIDERS["cpu"]
        pipeline = load_pipeline(
            checked,
            provider=chosen,
            precision=precision,
            min_score=min_score,
            batch=batch or (1 if on_cpu else GPU_BATCH),
        )
        config = checked.config
        info = ExtractorInfo(
            name=config.name,
            version=config.version,
            precision=pipeline.backend.precision,
            provider=pipeline.backend.provider,
            workers=workers or (available_cores() if on_cpu else 1),
            tasks=tuple(task.name for task in config.tasks),
        )
        return cls(pipeline, info)

    @property
    def info(self) -> ExtractorInfo:
        """What runs: model, precision, provider."""
        return self._info

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
            for chunk in _chunks(items):
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
    precision: str | None = None,
    min_score: float = 0.0,
    batch: int = 1,
    threads: int = 1,
) -> Pipeline:
    """A bundle's pipeline on ONNX sessions; see ``Extractor.load``.

    Args:
        bundle: checked.
        provider: ONNX Runtime's name of it.
        precision: which encoder.
        min_score: see ``Extractor.load``.
        batch: windows per run.
        threads: within one run.
    """
    config = bundle.config
    precision = precision or config.default_precision
    if precision not in config.encoders:
        raise ConfigError(
            f"precision {precision} was asked for, but the bundle has {', '.join(config.encoders)}"
        )

    def session(name: str) -> Any:
        return open_session(bundle.read(name), provider, threads=threads, name=name)

    with ThreadPoolExecutor(1) as pool:  # opening the encoder takes as long as all the rest
        encoder = pool.submit(session, config.encoders[precision])
        tokenizer = _load_tokenizer(bundle)
        relations = {task: session(name) for task, name in config.relations.items()}
        backend = OnnxBackend(encoder.result(), relations, provider=provider, precision=precision)
    return Pipeline(
        backend,
        tokenizer,
        config.special,
        _load_heads(bundle),
        windows=config.windows,
        min_score=min_score,
        batch=batch,
    )


def _load_tokenizer(bundle: Bundle) -> Any:
    from tokenizers import Tokenizer

    name = bundle.config.tokenizer
    try:
        tokenizer = Tokenizer.from_buffer(bundle.read(name))
    except BundleError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleError(f"{bundle.folder}: {name} is not a tokenizer") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _load_heads(bundle: Bundle) -> list[Head]:
    from safetensors.numpy import load

    name = bundle.config.crf
    data = bundle.read(name)
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
            for task in bundle.config.tasks
        ]
    except Exception as error:  # safetensors raises its own kinds
        raise BundleError(f"{bundle.folder}: {name} does not fit the tasks") from error


def _chunks(items: Iterable[Note | ErrorRecord]) -> Iterator[list[Note | ErrorRecord]]:
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


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
