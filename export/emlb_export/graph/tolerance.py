"""How much the networks may differ between torch and ONNX."""

from __future__ import annotations

TOLERANCE = 1e-4
"""Largest absolute difference of hidden states, emissions and logits, torch to ONNX fp32."""
