"""The joint model: one encoder; heads for entities, relations and attributes per task.

Shape letters in this package: B windows, T pieces, W words, S spans, P pairs, D encoder
width, H relation width, A attribute width, E entity labels, R relation types, V attribute
values. Equation numbers are those of Guo, Liu & Niu (2023), doi 10.3389/fnins.2023.1266771.
"""

from .config import EmlbConfig
from .model import EmlbModel, JointOutput

__all__ = ["EmlbConfig", "EmlbModel", "JointOutput"]
