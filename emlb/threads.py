"""How many threads torch may use."""

from __future__ import annotations

import os

import torch

from emlb_runtime.machine.info import available_cores

_SET_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def limit_threads() -> None:
    """Give torch no more threads than the cores that this process may use.

    By itself torch counts the machine's cores. In a container with a quota of two of 64, its
    threads would mostly wait for one another. A number that the environment sets stands, and so
    does a smaller one that the caller has set.
    """
    if any(os.environ.get(name) for name in _SET_BY_USER):
        return
    cores = available_cores()
    if torch.get_num_threads() > cores:
        torch.set_num_threads(cores)
