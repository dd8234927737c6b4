"""The files of a bundle: networks, CRF, tokenizer, and the configuration that names them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from safetensors.numpy import save

from emlb.model.pretrained import TrainedModel
from emlb_runtime import __version__
from emlb_runtime.bundle import CONFIG_NAME, BundleConfig

from .onnx import export_encoder, export_relations
from .quantize import quantize

FP32_NAME, FP16_NAME, INT8_NAME = "encoder.onnx", "encoder_fp16.onnx", "encoder_int8.onnx"


def write_networks(
    trained: TrainedModel,
    scratch: Path,
    run: dict[str, Any],
    *,
    name: str | None,
    version: str | None,
) -> BundleConfig:
    """Graphs, CRF and tokenizer into the scratch folder."""
    model, tasks = trained.model, trained.model.config.task_list
    export_encoder(model, scratch / "raw.onnx")
    optimise(scratch / "raw.onnx", scratch / FP32_NAME)
    relations: dict[str, str] = {}
    for task in tasks:
        if task.relation_types:
            relations[task.name] = f"relations_{task.name}.onnx"
            export_relations(model, task.name, scratch / "raw.onnx")
            optimise(scratch / "raw.onnx", scratch / relations[task.name])
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
        relations=relations,
        crf="crf.safetensors",
        tokenizer="tokenizer.json",
        files={},
        width=int(model.config.encoder_config.hidden_size),
        provenance=_provenance(run),
        scores={"development": run.get("development", {})},
    )
    return seal(scratch, config)


def quantize_relations(folder: Path, config: BundleConfig) -> dict[str, str]:
    """Write int8 forms of a bundle's relation heads beside them.

    Their matrices are behind layer norms, or take the encoder's output, which has left one.

    Returns:
        Their files, per task.
    """
    names: dict[str, str] = {}
    for task, name in config.relations.items():
        names[task] = f"relations_{task}_int8.onnx"
        raw = folder / "raw.onnx"
        quantize(folder / name, raw, own_ranges=False)
        optimise(raw, folder / names[task])
    return names


def optimise(source: Path, target: Path) -> None:
    """Fuse and fold with ONNX Runtime now, so that sessions need not do it at every start.

    The source is deleted: a bundle holds the optimised graph alone.
    """
    # OpenVINO takes a product with transposed batches without a word, and gives nothing.
    left_out = ["MatmulTransposeFusion"]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        str(source), options, providers=["CPUExecutionProvider"], disabled_optimizers=left_out
    )
    source.unlink()


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
    sizes, base = run.get("documents", {}), str(settings["base"])
    return {
        "emlb": __version__,
        "base": Path(base).name if base.startswith(("/", ".", "~")) else base,  # no local path
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
        **({"start": Path(settings["start"]).name} if settings.get("start") else {}),
        **_distillation(settings.get("distillation", {})),
    }


def _distillation(settings: dict[str, Any]) -> dict[str, Any]:
    """What models taught this one, and on which notes; by name, without paths."""
    if not settings.get("teachers"):
        return {}
    return {
        "distillation": {
            "teachers": [Path(teacher).name for teacher in settings["teachers"]],
            "notes": settings["notes"],
            "windows": settings["windows"],
            "targets": settings.get("targets", "agreed"),
            "annotated": settings.get("annotated", False),
        }
    }
