"""How good documents are: scores against gold, their table, thresholds from scores.

Works on documents alone, so whatever wrote them (the torch model, a bundle, a file of
predictions) is measured by the same rules.
"""

from .calibration.thresholds import best_thresholds
from .scoring.counts import Agreement, Counts, Rates, Scores, TypeScores
from .scoring.scores import score
from .scoring.table import render, to_json

__all__ = [
    "Agreement",
    "Counts",
    "Rates",
    "Scores",
    "TypeScores",
    "best_thresholds",
    "render",
    "score",
    "to_json",
]
