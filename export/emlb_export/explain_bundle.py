"""Explaining a note file with a trained model or a bundle."""

from __future__ import annotations

import json
import os
from pathlib import Path

from emlb.explaining.attention import Attention
from emlb.explaining.explain import explain_note
from emlb.explaining.listing import render_listing
from emlb.explaining.page import render_page
from emlb.explaining.records import Explanation
from emlb_runtime.bundle.loader import CONFIG_NAME, Bundle
from emlb_runtime.errors import ArtefactError, ConfigError, DataError, EmlbError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.formats.files.atomic import open_private
from emlb_runtime.formats.notes import NoteFile, check_encoding, find_notes, read_note
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import ErrorRecord, Note


def explain_file(
    model: Path,
    note: str,
    *,
    number: int | None = None,
    top: int = 8,
    html_path: Path | None = None,
    json_path: Path | None = None,
    precision: str | None = None,
    encoding: str = "utf-8",
) -> str:
    """Show where a model looked for each triple of a note.

    Args:
        model: a run's folder or a model folder (torch), or a bundle (ONNX).
        note: one file, or ``-`` for standard input.
        number: explain this triple alone, counted from 1.
        top: words to list of each reader.
        html_path: where to write a page.
        json_path: where to write all weights.
        precision: which encoder of a bundle.
        encoding: of the note.

    Returns:
        The listing for the terminal; like the files, it holds text of the note.

    Raises:
        ConfigError: if an option does not fit, or an output would overwrite the note.
        DataError: if the note cannot be read or extracted.
        ArtefactError: if the model cannot be used.
    """
    check_encoding(encoding)
    _check_outputs(note, {"--html": html_path, "--json": json_path})
    read = _read(note, encoding)
    pipeline, attention = open_model(model, precision=precision)
    explanation = _explain(read, pipeline, attention, number)
    if html_path:
        page = render_page(explanation, top=top)
        _write_private(html_path, page, errors="xmlcharrefreplace")
    if json_path:
        text = json.dumps(explanation.to_json(), ensure_ascii=False) + "\n"
        # A file name that is not Unicode leaves surrogates, which JSON can hold as escapes.
        _write_private(json_path, text, errors="backslashreplace")
    return render_listing(explanation, top=top)


def _write_private(path: Path, text: str, *, errors: str) -> None:
    """Write a file that holds text of the note: others may not read one that is made."""
    descriptor = open_private(path, fresh=True, follow=True)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors=errors, newline="\n") as file:
        file.write(text)


def open_model(path: Path, *, precision: str | None = None) -> tuple[Pipeline, Attention]:
    """The pipeline of a trained model or a bundle, one window at a time, and its attention.

    Raises:
        ArtefactError: if it is neither, or broken.
        ConfigError: if the precision is not available.
    """
    folder = path / "model" if (path / "model" / CONFIG_NAME).is_file() else path
    config = _read_config(folder)
    if "format" in config:
        from .graph.attention import BundleAttention

        bundle = Bundle.load(folder)
        pipeline = load_pipeline(bundle, precision=precision)
        return pipeline, BundleAttention(bundle, precision=precision)
    if config.get("model_type") != "emlb":
        raise ArtefactError(f"{path}: neither a trained model of EMLB nor a bundle")
    if precision not in (None, "fp32"):
        raise ConfigError(f"{path} is a torch model, which runs in fp32, not {precision}")
    from emlb.explaining.torch_attention import TorchAttention
    from emlb.model.pretrained import TrainedModel

    trained = TrainedModel.load(folder)
    return trained.pipeline(batch=1), TorchAttention(trained.model)


def _read_config(folder: Path) -> dict[str, object]:
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except OSError:
        raise ArtefactError(
            f"{folder}: no trained model or bundle there (a folder with {CONFIG_NAME})"
        ) from None
    except (ValueError, RecursionError):
        raise ArtefactError(f"{folder}: {CONFIG_NAME} is not valid JSON") from None
    return config if isinstance(config, dict) else {}


def _explain(
    note: Note, pipeline: Pipeline, attention: Attention, number: int | None
) -> Explanation:
    try:
        return explain_note(note, pipeline=pipeline, attention=attention, number=number)
    except EmlbError:
        raise
    except Exception as error:  # its own text may quote the note: only its kind is told
        raise DataError(
            f"{note.name}: it could not be explained ({type(error).__name__})"
        ) from None


def _read(note: str, encoding: str) -> Note:
    files = find_notes([note])
    if len(files) != 1 or os.path.isdir(note):
        raise DataError(f"{note}: one note is explained at a time; name one file")
    (file,) = files
    if isinstance(file, NoteFile) and file.is_table:
        raise DataError(f"{note}: a table of notes; name the file of one note")
    read = (
        file
        if isinstance(file, ErrorRecord)
        else read_note(file.path, name=file.name, encoding=encoding)
    )
    if isinstance(read, ErrorRecord):
        raise DataError(f"{read.note}: {read.error}")
    return read


def _check_outputs(note: str, outputs: dict[str, Path | None]) -> None:
    """Refuse outputs that cannot be written before the model is loaded."""
    taken = {os.path.realpath(note): "the note"}
    for option, path in outputs.items():
        if path is None:
            continue
        if path.is_dir():
            raise ConfigError(f"{option} {path} is a folder: name a file")
        real = os.path.realpath(path)
        if not os.path.isdir(os.path.dirname(real)):
            raise ConfigError(f"{option} {path}: there is no such folder; create it first")
        if real in taken:
            raise ConfigError(f"{option} {path} is {taken[real]}: name another file")
        taken[real] = f"the file of {option}"
