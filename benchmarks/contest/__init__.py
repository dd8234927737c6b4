"""The parts of ``benchmarks/peers.py``: contestants, each in a process of its own, in rounds.

What the worker processes import must do without EMLB: a peer may live in an environment that
has no more than the peer.
"""
