"""EMLB at run time: entities and relations from clinical notes, without torch."""

import os
from typing import TYPE_CHECKING, Any

from .errors import (
    ArtefactError,
    BackendError,
    BundleError,
    ConfigError,
    DataError,
    EmlbError,
)
from .records import Document, Entity, ErrorRecord, Note, Relation, Status, Triple

if TYPE_CHECKING:
    from .extract import Extractor

__version__ = "0.1.0"

# From 1.29 on ONNX Runtime tells its maker of the machine and the models, unless this is set
# before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__all__ = [
    "ArtefactError",
    "BackendError",
    "BundleError",
    "ConfigError",
    "DataError",
    "Document",
    "EmlbError",
    "Entity",
    "ErrorRecord",
    "Extractor",
    "Note",
    "Relation",
    "Status",
    "Triple",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import the extractor, and numpy and ONNX Runtime with it, only when it is asked for."""
    if name == "Extractor":
        from .extract import Extractor

        return Extractor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
