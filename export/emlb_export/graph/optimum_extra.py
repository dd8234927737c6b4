"""The extra ``[optimum]``: what asks for it, and the error where it is missing."""

from __future__ import annotations

import transformers
from torch import nn

from emlb_export.presets import OWN, PRESETS, QUANTIZERS
from emlb_runtime.errors import ConfigError

from .plain_bert import is_plain_bert


def check_extra(encoder: nn.Module, *, quantizer: str = OWN) -> None:
    """Refuse an export that needs optimum where it is not installed.

    Args:
        encoder: what is exported.
        quantizer: one of ``QUANTIZERS``.

    Raises:
        ConfigError: naming what needs optimum and how to install it; or if there is no such
            quantiser.
    """
    if quantizer not in QUANTIZERS:
        raise ConfigError(
            f"quantizer {quantizer} is unknown; choose one of {', '.join(QUANTIZERS)}"
        )
    if not is_plain_bert(encoder):
        kind = getattr(encoder.config, "model_type", type(encoder).__name__)
        _import(f"an encoder of type {kind} is exported with optimum")
    if quantizer in PRESETS:
        _import(f"the quantizer {quantizer} is optimum's")


def _import(reason: str) -> None:
    try:
        import optimum.exporters.onnx
        import optimum.onnxruntime  # noqa: F401
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            what = f"{error.name} is not installed"
        else:
            what = f"it cannot be imported here ({type(error).__name__})"
        raise ConfigError(
            f"{reason}, but {what}: pip install 'emlb[optimum]'{_side_effect()}"
        ) from None


def _side_effect() -> str:
    """What the installation does to a newer version of transformers."""
    version = transformers.__version__
    if int(version.partition(".")[0]) < 5:
        return ""
    return (
        f"; optimum does not work with transformers {version} yet and brings 4.57, so use an"
        " environment of its own and export the trained model there"
    )
