"""Where encoders and tokenizers come from, and how a trained model lies on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from emlb.package_data import PREFIX, find_packaged
from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.pipeline import Head, Pipeline
from emlb_runtime.schema.task import Task
from emlb_runtime.text.special_tokens import SpecialTokens
from emlb_runtime.text.tokens import make_plain

from .backend import TorchBackend
from .loading import read_tokenizer, save_tokenizer, without_bars
from .model import EmlbModel

_MASKS = ("[MASK]", "<mask>")


def resolve_base(base: str) -> str:
    """The folder or hub id of an encoder.

    Args:
        base: a folder, a hub id, or ``package:NAME/FOLDER`` for files that an installed
            Python package carries.

    Raises:
        ConfigError: if the package or its folder is missing.
    """
    if not base.startswith(PREFIX):
        if base.startswith((".", "/", "~")) and not Path(base).expanduser().is_dir():
            raise ConfigError(f"base {base}: there is no such folder")
        return str(Path(base).expanduser()) if Path(base).expanduser().is_dir() else base
    path = find_packaged(base, Path())
    if not path.is_dir():
        raise ConfigError(f"base {base}: not a folder")
    return str(path)


@dataclass(frozen=True)
class LoadedTokenizer:
    """A fast tokenizer without truncation and padding, and its special tokens."""

    tokenizer: Any
    special: SpecialTokens
    source: Any

    def save(self, folder: Path) -> None:
        """Write what ``load_tokenizer`` reads."""
        save_tokenizer(self.tokenizer, self.source, folder)


def load_tokenizer(path: str | Path) -> LoadedTokenizer:
    """Load an encoder's fast tokenizer.

    Raises:
        ConfigError: if it has none, or lacks the tokens that frame a window.
    """
    try:
        source = AutoTokenizer.from_pretrained(path, use_fast=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: no tokenizer could be loaded ({type(error).__name__}); name a folder with "
            "an encoder, a hub id that can be reached, or package:NAME/FOLDER"
        ) from None
    if not source.is_fast:
        raise ConfigError(f"{path}: no fast tokenizer; its exact offsets are needed")
    cls = source.cls_token_id if source.cls_token_id is not None else source.bos_token_id
    sep = source.sep_token_id if source.sep_token_id is not None else source.eos_token_id
    if cls is None or sep is None or source.pad_token_id is None:
        raise ConfigError(f"{path}: the tokenizer lacks a start, end or padding token")
    special = SpecialTokens(cls, sep, source.pad_token_id, source.mask_token_id)
    tokenizer = read_tokenizer(path, source)
    make_plain(tokenizer)
    return LoadedTokenizer(tokenizer, special, source)


def unpack_tokenizer(data: bytes, special: SpecialTokens) -> LoadedTokenizer:
    """The tokenizer of a bundle, as a transformers tokenizer too.

    Args:
        data: the bundle's ``tokenizer.json``, checked.
        special: ids of the tokens that frame a window. A mask token is found by its name.
    """
    tokenizer = Tokenizer.from_buffer(data)
    mask = next((name for name in _MASKS if tokenizer.token_to_id(name) is not None), None)
    roles = {
        "cls_token": tokenizer.id_to_token(special.cls),
        "sep_token": tokenizer.id_to_token(special.sep),
        "pad_token": tokenizer.id_to_token(special.pad),
        "unk_token": json.loads(data)["model"].get("unk_token"),
        "mask_token": mask,
    }
    source = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        **{role: name for role, name in roles.items() if name is not None},
    )
    make_plain(source.backend_tokenizer)
    mask_id = None if mask is None else tokenizer.token_to_id(mask)
    return LoadedTokenizer(source.backend_tokenizer, replace(special, mask=mask_id), source)


def model_folder(path: Path) -> Path:
    """The folder of a model: that of a run, which holds it as ``model``, or the path itself."""
    return path / "model" if (path / "model").is_dir() else path


@dataclass(frozen=True)
class TrainedModel:
    """A model folder as ``emlb train`` leaves it."""

    model: EmlbModel
    tokenizer: LoadedTokenizer

    @classmethod
    def load(cls, folder: Path) -> TrainedModel:
        """Load weights (safetensors), configuration and tokenizer.

        Raises:
            ArtefactError: if the folder is not a model folder.
        """
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            if not (folder / name).is_file():
                raise ArtefactError(f"{folder}: not a trained model, {name} is missing")
        with without_bars():
            return cls(EmlbModel.from_pretrained(folder).eval(), load_tokenizer(folder))

    def save(self, folder: Path) -> None:
        """Write what ``load`` reads."""
        with without_bars():
            self.model.save_pretrained(folder)
        self.tokenizer.save(folder)

    def pipeline(
        self,
        *,
        tasks: list[Task] | None = None,
        batch: int = 8,
        autocast: torch.dtype | None = None,
    ) -> Pipeline:
        """The runtime's pipeline on this model.

        Args:
            tasks: stand-ins for the model's own (other thresholds, say).
            batch: windows per run.
            autocast: encode in this type; None is single precision.
        """
        return make_pipeline(
            self.model, self.tokenizer, tasks=tasks, batch=batch, autocast=autocast
        )


def make_pipeline(
    model: EmlbModel,
    tokenizer: LoadedTokenizer,
    *,
    tasks: list[Task] | None = None,
    batch: int = 8,
    autocast: torch.dtype | None = None,
) -> Pipeline:
    """The runtime's pipeline on a torch model; see ``TrainedModel.pipeline``."""
    heads = [
        Head(task, model.head(task.name).crf.deployed()) for task in tasks or model.config.task_list
    ]
    return Pipeline(
        TorchBackend(model, autocast=autocast),
        tokenizer.tokenizer,
        tokenizer.special,
        heads,
        windows=model.config.window_config,
        batch=batch,
    )
