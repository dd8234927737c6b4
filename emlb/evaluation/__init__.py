"""How good documents are: scores against gold, their table, thresholds from scores.

Works on documents alone, so whatever wrote them (the torch model, a bundle, a file of
predictions) is measured by the same rules.
"""

from .counts import Agreement, Counts, Rates, Scores, TypeScores
from .scores import score
from .table import render, to_json
from .thresholds import best_thresholds

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
