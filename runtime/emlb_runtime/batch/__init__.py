"""Resumable runs over many notes: what ``emlb-run`` does, as a library.

``ExtractionJob`` is the door. ``OutputSpec`` says what to write, ``RunStats`` what was counted.
``journal`` explains in which order things are written, so that a run survives a kill.
"""

from __future__ import annotations

from .compression import Compression
from .job import ExtractionJob
from .output_spec import OutputSpec
from .signals import Stopped, StopSignals
from .stats import RunStats

__all__ = [
    "Compression",
    "ExtractionJob",
    "OutputSpec",
    "RunStats",
    "StopSignals",
    "Stopped",
]
