"""The files of a bundle: graphs, weights, CRF, tokenizer, and the configuration that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import save

from emlb.model.model import EmlbModel
from emlb.model.pretrained import TrainedModel
from emlb.training.warm_start.origin import run_name
from emlb_runtime import __version__
from emlb_runtime.bundle.loader import CONFIG_NAME, BundleConfig
from emlb_runtime.inference.weights import UNNAMED

from .graph.optimise import optimise
from .graph.trace import export_attributes, export_encoder, export_relations
from .naming import Arrays, complete, fold, names_of, rename, strip
from .precision.int8 import quantize

FP32_NAME, FP16_NAME, INT8_NAME = "encoder.onnx", "encoder_fp16.onnx", "encoder_int8.onnx"
WEIGHTS_NAME = "weights.safetensors"


@dataclass(frozen=True)
class Whole:
    """A model's graphs of floats with their weights in them, and the weights' names.

    Attributes:
        encoder: its file.
        relations: file per task that has relations.
        attributes: file per task whose mentions have attributes.
        state: the model's tensors as export folds them.
        names: of the weights that a bundle keeps apart from the graphs.
    """

    encoder: Path
    relations: Mapping[str, Path]
    attributes: Mapping[str, Path]
    state: Arrays
    names: frozenset[str]

    @property
    def graphs(self) -> tuple[Path, ...]:
        """All files."""
        return (self.encoder, *self.relations.values(), *self.attributes.values())


def write_whole(model: EmlbModel, folder: Path) -> Whole:
    """Write a model's graphs, optimised, their weights named.

    Args:
        model: in evaluation mode, on the CPU.
        folder: for the files.
    """
    state = fold(model)
    arrays = names_of(state)
    names: set[str] = set()

    def finish(path: Path) -> Path:
        optimise(folder / "raw.onnx", path)
        whole = onnx.load(str(path))
        rename(whole.graph, arrays, prefix=f"{UNNAMED}{path.stem}")
        named = {weight.name for weight in whole.graph.initializer}
        names.update(n for n in named if n in arrays or n.startswith(UNNAMED))
        onnx.save(whole, str(path))
        return path

    export_encoder(model, folder / "raw.onnx")
    encoder = finish(folder / FP32_NAME)
    relations: dict[str, Path] = {}
    for task in model.config.task_list:
        if task.relation_types:
            export_relations(model, task.name, folder / "raw.onnx")
            relations[task.name] = finish(folder / f"relations_{task.name}.onnx")
    attributes: dict[str, Path] = {}
    for task in model.config.task_list:
        if task.attributes:
            export_attributes(model, task.name, folder / "raw.onnx")
            attributes[task.name] = finish(folder / f"attributes_{task.name}.onnx")
    return Whole(encoder, relations, attributes, state, frozenset(names))


def write_networks(
    trained: TrainedModel,
    whole: Whole,
    scratch: Path,
    run: dict[str, Any],
    *,
    name: str | None,
    version: str | None,
) -> BundleConfig:
    """Graphs, weights, CRF and tokenizer into the scratch folder; all of it fp32."""
    model, tasks = trained.model, trained.model.config.task_list
    taken: Arrays = {}
    for path in whole.graphs:
        taken |= write_stripped(onnx.load(str(path)), whole, scratch / path.name)
    write_weights(scratch, complete(taken, whole.state))
    crf: dict[str, np.ndarray] = {}
    for task in tasks:
        scores = model.head(task.name).crf.deployed()
        crf |= {
            f"{task.name}.start": scores.start,
            f"{task.name}.end": scores.end,
            f"{task.name}.transitions": scores.transitions,
        }
    (scratch / "crf.safetensors").write_bytes(save(crf))  # save_file makes it private
    trained.tokenizer.tokenizer.save(str(scratch / "tokenizer.json"), pretty=False)
    settings = run.get("config", {})
    config = BundleConfig(
        name=name or settings.get("name") or "model",
        version=version or __version__,
        description=settings.get("description", ""),
        tasks=tuple(tasks),
        windows=model.config.window_config,
        special=replace(trained.tokenizer.special, mask=None),
        encoders={"fp32": FP32_NAME},
        default_precision="fp32",
        relations={task: path.name for task, path in whole.relations.items()},
        attributes={task: path.name for task, path in whole.attributes.items()},
        crf="crf.safetensors",
        tokenizer="tokenizer.json",
        files={},
        width=int(model.config.encoder_config.hidden_size),
        provenance=_provenance(run),
        scores={"development": run.get("development", {})},
        weights=WEIGHTS_NAME,
        architecture=_architecture(model),
    )
    return seal(scratch, config)


def _architecture(model: EmlbModel) -> dict[str, Any]:
    """See ``BundleConfig.architecture``."""
    config = model.config
    names = ["relation_width", "relation_heads", "head_dropout", "entity_head", "relation_head"]
    if any(task.attributes for task in config.task_list):
        names.append("attribute_width")
    return {"encoder": dict(config.encoder)} | {name: getattr(config, name) for name in names}


def add_int8(whole: Whole, scratch: Path, config: BundleConfig) -> BundleConfig:
    """Turn a bundle's weights into levels and scales, and add the graphs that multiply them.

    The matrices of the relation and attribute heads are behind layer norms, or take the
    encoder's output, which has left one: their inputs need no ranges of their own.

    Returns:
        The configuration, with int8 as default.
    """
    taken: Arrays = {}
    for path in whole.graphs:
        floats = strip(onnx.load(str(path)), whole.names)
        name = f"{path.stem}_int8.onnx"
        raw, optimised = path.with_name("raw.onnx"), path.with_name(name)
        quantize(path, raw, own_ranges=path == whole.encoder)
        optimise(raw, optimised)
        taken |= floats | write_stripped(onnx.load(str(optimised)), whole, scratch / name)
    write_weights(scratch, complete(taken, whole.state))
    relations = {task: f"{path.stem}_int8.onnx" for task, path in whole.relations.items()}
    attributes = {task: f"{path.stem}_int8.onnx" for task, path in whole.attributes.items()}
    config = replace(
        config,
        encoders={**config.encoders, "int8": INT8_NAME},
        relations_int8=relations,
        attributes_int8=attributes,
        default_precision="int8",
    )
    return seal(scratch, config)


def write_stripped(model: onnx.ModelProto, whole: Whole, path: Path) -> Arrays:
    """Write a graph without its weights, and give the weights."""
    taken = strip(model, whole.names)
    onnx.save(model, str(path))
    return taken


def write_weights(folder: Path, arrays: Arrays) -> None:
    """Write the weights of a bundle."""
    contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    (folder / WEIGHTS_NAME).write_bytes(save(contiguous))


def seal(folder: Path, config: BundleConfig) -> BundleConfig:
    """The configuration with size and hash of every file now in the folder."""
    files = {
        path.name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
        if path.name != CONFIG_NAME
    }
    return replace(config, files=files)


def write_config(folder: Path, config: BundleConfig) -> None:
    text = json.dumps(config.to_json(), indent=1, ensure_ascii=False)
    (folder / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")


def _provenance(run: dict[str, Any]) -> dict[str, Any]:
    settings = run.get("config", {})
    if not settings:
        return {"emlb": __version__}
    sizes, began = run.get("documents", {}), run.get("started_from") or {}
    base = str(began.get("base") or settings["base"])
    return {
        "emlb": __version__,
        "base": Path(base).name if _is_local(base) else base,
        "seed": settings["seed"],
        "epochs": settings["training"]["epochs"],
        "steps": run.get("steps"),
        "corpora": [
            {
                "name": corpus["name"],
                "documents": sizes.get(corpus["name"]),
                "repeat": corpus["repeat"],
            }
            for corpus in settings["corpus"]
        ],
        **(
            {"start": began.get("name", run_name(settings["start"]))}
            if settings.get("start")
            else {}
        ),
        **_distillation(settings.get("distillation", {})),
    }


def _is_local(base: str) -> bool:
    """Whether a base is a path: a hub id is a name, or an owner and a name."""
    if base.startswith("package:"):
        return False
    return base.startswith(("/", ".", "~")) or base.count("/") > 1


def _distillation(settings: dict[str, Any]) -> dict[str, Any]:
    """What models taught this one, and on which notes; by name, without paths."""
    if not settings.get("teachers"):
        return {}
    return {
        "distillation": {
            "teachers": [run_name(teacher) for teacher in settings["teachers"]],
            "notes": [Path(place).name for place in settings["notes"]],
            "windows": settings["windows"],
            "targets": settings.get("targets", "agreed"),
            "annotated": settings.get("annotated", False),
        }
    }
