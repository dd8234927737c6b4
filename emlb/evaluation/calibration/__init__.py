"""Scores as probabilities: fit, measure, draw, and thresholds."""
