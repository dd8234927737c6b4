"""What transformers 4 and 5 do differently as they load and save: tokenizers, progress bars."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers.utils import logging
from transformers.utils.hub import cached_file

NAME = "tokenizer.json"
CONFIG_NAME = "tokenizer_config.json"


def read_tokenizer(path: str | Path, source: Any) -> Any:
    """The ``tokenizers.Tokenizer`` of a folder or hub id.

    transformers 5 builds a tokenizer from its class and vocabulary, with the class's own rules
    for normalising and splitting text. Rules that differ in the file are then lost, and an
    encoder would read other pieces than it was trained on. The file decides here.

    Args:
        path: folder or hub id.
        source: the transformers tokenizer that was loaded from there.

    Returns:
        The file's tokenizer with the special tokens that ``source`` adds to it; that of
        ``source`` if there is no file, or if their vocabularies differ.
    """
    built = source.backend_tokenizer
    try:
        file = cached_file(str(path), NAME, local_files_only=True)  # just loaded, if it is there
    except OSError:
        return built
    filed = Tokenizer.from_file(file)
    wanted, known = built.get_vocab(with_added_tokens=True), filed.get_vocab(with_added_tokens=True)
    filed.add_special_tokens(sorted(wanted.keys() - known.keys(), key=wanted.__getitem__))
    return filed if filed.get_vocab(with_added_tokens=True) == wanted else built


def save_tokenizer(tokenizer: Any, source: Any, folder: Path) -> None:
    """Write a tokenizer so that transformers 4 and 5 both load it.

    Args:
        tokenizer: the ``tokenizers.Tokenizer`` that is in use.
        source: the transformers tokenizer around it.
        folder: to write to.
    """
    source.save_pretrained(folder)
    tokenizer.save(str(folder / NAME))
    file = folder / CONFIG_NAME
    values = json.loads(file.read_text(encoding="utf-8"))
    if values.get("tokenizer_class") == "TokenizersBackend":  # unknown to transformers 4
        values["tokenizer_class"] = "PreTrainedTokenizerFast"
        file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def without_bars() -> Iterator[None]:
    """Without the progress bars that transformers 5 shows for files that take no time."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
