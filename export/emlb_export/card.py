"""The model card that goes into every bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emlb_runtime.bundle.loader import BundleConfig

from .tuning import Loss
from .verify import Agreement, TensorParity


@dataclass(frozen=True)
class Checks:
    """What was verified before the bundle was written.

    Attributes:
        tensors: torch to ONNX fp32.
        decoded: torch to ONNX fp32 on notes.
        quantized: ONNX fp32 to int8 on the same notes; None without int8.
        loss: of int8 on development documents; None if not measured.
        half: ONNX fp32 to fp16 on the same notes; None without fp16.
    """

    tensors: TensorParity
    decoded: Agreement
    quantized: Agreement | None
    loss: Loss | None = None
    half: Agreement | None = None


def render_card(
    config: BundleConfig,
    checks: Checks,
    tables: Mapping[str, str],
    reliability: Mapping[str, str],
    *,
    plotted: bool = False,
) -> str:
    """The card as Markdown.

    Args:
        config: of the bundle.
        checks: verification figures.
        tables: per precision, a table of scores on annotated data, plain text.
        reliability: per precision, a table of how often predictions of a score are right there.
        plotted: whether ``calibration.svg`` lies beside the card.
    """
    provenance = config.provenance
    parts = [
        f"# {config.name} {config.version}",
        config.description,
        "**Not a medical device.** For research and data engineering; a person must check what "
        "it extracts before it touches care.",
        "## What it extracts",
        *(_task(task.to_json()) for task in config.tasks),
        "## Where it comes from",
        _provenance(provenance),
        "## Scores",
        *_scores(config.scores, tables),
        *_calibration(reliability, plotted),
        "## Verification at export",
        _checks(checks),
        "## Limits",
        "English only. Mentions are contiguous and do not nest. Relations are found between "
        f"mentions of one window ({config.windows.max_pieces} word pieces, about "
        f"{config.windows.max_pieces * 4 // 5 // 10 * 10} words). Letter case is ignored if the "
        f"base ignores it. {_negated(config)} " + _meaning(config),
        _int8(provenance) if "int8" in config.encoders else "This bundle has no int8 encoder.",
    ]
    if "fp16" in config.encoders:
        parts.append(
            "fp16 is for GPUs; layer norms and softmax stay fp32 in it, and so do its outputs. "
            "It has the thresholds and calibration of fp32. A CPU computes it in fp32 with "
            "casts in between, slower than fp32 itself: choose int8 or fp32 there."
        )
    return "\n\n".join(parts) + "\n"


def _int8(provenance: Mapping[str, Any]) -> str:
    if quantizer := provenance.get("quantizer"):
        return (
            f"int8 was made by optimum's `ORTQuantizer` ({quantizer.removeprefix('optimum-')}), "
            "the relation heads too. It keeps one scale for all that runs together, so a note's "
            "result depends a little on its own length and, in batches of several windows, on the "
            "other windows. It holds weights of its own, and runs where a self-test, which "
            "`emlb info` shows, finds its 8-bit products exact. fp32 runs on the weights as they "
            "were trained."
        )
    return (
        "int8 keeps one scale per word piece, so a note's result does not depend on what runs "
        "beside it. The sums of its 8-bit products are the same on every processor: a self-test, "
        "which `emlb info` shows, decides how they are computed. The relation heads are int8 too. "
        "fp32 multiplies the same weights, levels times scales, in floating point."
    )


def _negated(config: BundleConfig) -> str:
    if any(attribute.nonfactual for task in config.tasks for attribute in task.attributes):
        return (
            "Negated and hypothetical findings are entities like any other; their attributes say "
            "so, and a relation of such a mention is not asserted."
        )
    return "Negated and hypothetical findings are entities like any other."


def _meaning(config: BundleConfig) -> str:
    tuned = (*config.tasks, *(task for tasks in config.tuned.values() for task in tasks))
    if all(task.calibration for task in tuned):
        return (
            "Scores are calibrated on the development parts of the training corpora, not on your "
            "notes."
        )
    return "Scores are the network's own and surer than it is right: they are not calibrated."


def _task(task: Mapping[str, Any]) -> str:
    lines = [f"Task `{task['name']}`: entities {', '.join(task['entity_types'])}."]
    for relation in task["relation_types"]:
        signatures = [f"{h} → {t}" for r, h, t in task["signatures"] if r == relation]
        threshold = task["thresholds"].get(relation, 0.5)
        asked = f"from probability {threshold:.2f}"
        if (words := task["reach"].get(relation)) is not None:
            asked += f", at most {words} words apart"
        lines.append(f"- `{relation}` ({asked}): {', '.join(signatures)}")
    for attribute in task.get("attributes", ()):
        others = [value for value in attribute["values"] if value != attribute["default"]]
        types = ", ".join(attribute["entity_types"]) or "every entity"
        lines.append(
            f"- attribute `{attribute['name']}` of {types}: {', '.join(others)}; else "
            f"{attribute['default']}"
        )
    return "\n".join(lines)


def _provenance(provenance: Mapping[str, Any]) -> str:
    lines = [f"Base encoder: {provenance.get('base', 'unknown')}."]
    lines += [f"- {line}" for line in _corpora(provenance.get("corpora", ()))]
    if taught := provenance.get("distillation"):
        lines.append(f"- distilled: {_distilled(taught)}")
    for key, label in (("steps", "Updates"), ("epochs", "epochs"), ("seed", "seed")):
        if key in provenance:
            lines.append(f"- {label}: {provenance[key]}")
    return "\n".join(lines)


def _distilled(taught: Mapping[str, Any]) -> str:
    """What teachers did, in one clause."""
    soft = taught.get("targets") == "soft"
    who = f"{len(taught['teachers'])} models ({', '.join(taught['teachers'])})"
    what = "gave probabilities for" if soft else "labelled"
    parts = ["the corpora"] if soft and taught.get("annotated") else []
    if taught["notes"]:
        notes = ", ".join(taught["notes"])
        parts.append(f"about {taught['windows']} windows of raw notes ({notes})")
    return f"{who} {what} {' and '.join(parts)}"


def _corpora(corpora: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"trained on {corpus['name']}: {corpus['documents']} documents"
        + (f" × {corpus['repeat']}" if corpus.get("repeat", 1) > 1 else "")
        for corpus in corpora
    ]


def _scores(scores: Mapping[str, Any], tables: Mapping[str, str]) -> list[str]:
    parts = []
    development = scores.get("development")
    if development:
        lines = ["Development data, strict micro F1 (percent), torch fp32:", ""]
        lines += ["| | F1 |", "|---|---|"]
        lines += [
            f"| {name.replace('_', ' ')} | {100 * value:.1f} |"
            for name, value in development.items()
            if name != "score"
        ]
        parts.append("\n".join(lines))
    parts += _listings(tables)
    return parts or ["None were measured when this bundle was written."]


def _calibration(reliability: Mapping[str, str], plotted: bool) -> list[str]:
    if not reliability:
        return []
    return [
        "## Calibration",
        "How often a prediction of a given score is strictly right, on the same data; ECE is the "
        "expected calibration error (percent). A relation is right only if both its mentions "
        "are. Where a corpus annotates a type in part, predictions beyond it count as wrong.",
        *(["![Share right by score](calibration.svg)"] if plotted else []),
        *_listings(reliability),
    ]


def _listings(texts: Mapping[str, str]) -> list[str]:
    return [f"{precision}:\n\n```\n{text}\n```" for precision, text in texts.items()]


def _checks(checks: Checks) -> str:
    tensors, decoded = checks.tensors, checks.decoded
    lines = [
        f"- torch to ONNX fp32, {tensors.shapes} shapes: largest absolute difference "
        f"{tensors.hidden:.1e} (hidden states), {tensors.emissions:.1e} (emissions), "
        f"{tensors.logits:.1e} (relation logits)"
        + (f", {tensors.attributes:.1e} (attribute scores)" if tensors.attributes else ""),
        f"- decoded on {decoded.notes} notes: {decoded.entities} entities and "
        f"{decoded.relations} relations, identical",
    ]
    if checks.quantized:
        lines.append(
            f"- int8 against fp32 on the same notes: F1 {100 * checks.quantized.entity_f1:.1f} "
            f"(entities), {100 * checks.quantized.relation_f1:.1f} (relations)"
            + _of_attributes(checks.quantized)
        )
    if checks.half:
        lines.append(
            f"- fp16 against fp32 on the same notes: F1 {100 * checks.half.entity_f1:.1f} "
            f"(entities), {100 * checks.half.relation_f1:.1f} (relations)"
            f"{_of_attributes(checks.half)}; at least 99 is asked"
        )
    if checks.loss:
        lines.append(f"- {checks.loss}, each with thresholds of its own (strict micro F1)")
    return "\n".join(lines)


def _of_attributes(agreement: Agreement) -> str:
    """How far attributes agree, where there are any."""
    said = f", {100 * agreement.attribute_f1:.1f} (attributes)"
    return said if agreement.attributes else ""
