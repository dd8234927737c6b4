"""The joint model: one encoder, an entity and a relation head per task.

Shape letters in this package: B windows, T pieces, W words, S spans, P pairs, D encoder
width, H relation width, E entity labels, R relation types. Equation numbers are those of
Guo, Liu & Niu (2023), doi 10.3389/fnins.2023.1266771.
"""

from .config import EmlbConfig
from .model import EmlbModel, JointOutput

__all__ = ["EmlbConfig", "EmlbModel", "JointOutput"]
