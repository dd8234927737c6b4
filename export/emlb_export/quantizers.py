"""The int8 networks of a bundle, made by EMLB's own quantiser or by one of optimum's presets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emlb.model.model import EmlbModel
from emlb_export import bundle_writer as files
from emlb_export.bundle_writer import INT8_NAME, Whole, seal
from emlb_export.presets import OWN
from emlb_runtime.bundle.loader import BundleConfig


def add_int8(
    model: EmlbModel, whole: Whole, scratch: Path, config: BundleConfig, *, quantizer: str
) -> BundleConfig:
    """Add int8 networks to a bundle.

    EMLB's own share the weights of the bundle, which become levels and scales. Those of optimum
    hold weights of their own, and the bundle's stay as they are for the other precisions.

    Args:
        model: what the bundle is exported from.
        whole: its graphs.
        scratch: the bundle's folder.
        config: of the bundle.
        quantizer: one of ``presets.QUANTIZERS``.

    Returns:
        The configuration, with int8 as default.
    """
    if quantizer == OWN:
        return files.add_int8(whole, scratch, config)
    from .precision.optimum_int8 import PRODUCTS, write_attributes, write_encoder, write_relations

    relations = {task: f"{path.stem}_int8.onnx" for task, path in whole.relations.items()}
    attributes = {task: f"{path.stem}_int8.onnx" for task, path in whole.attributes.items()}
    write_encoder(model, scratch / INT8_NAME, preset=quantizer)
    heads = {task: scratch / name for task, name in relations.items()}
    write_relations(model, heads, preset=quantizer)
    described = {task: scratch / name for task, name in attributes.items()}
    write_attributes(model, described, preset=quantizer)
    config = replace(
        config,
        encoders={**config.encoders, "int8": INT8_NAME},
        relations_int8=relations,
        attributes_int8=attributes,
        default_precision="int8",
        int8_products=PRODUCTS[quantizer],
        provenance={**config.provenance, "quantizer": quantizer},
    )
    return seal(scratch, config)
