"""The names of what can quantise."""

from __future__ import annotations

PRESETS = ("optimum-avx2", "optimum-avx512", "optimum-avx512-vnni", "optimum-arm64")
"""optimum's int8, by the processors that each preset is for."""

OWN = "emlb"
"""The int8 of ``emlb_export.precision.int8``."""

QUANTIZERS = (OWN, *PRESETS)
"""The names that ``--quantizer`` takes."""
