"""The parts of ``benchmarks/endurance.py``: notes by the thousand, a watch on memory, the figures.

Nothing here imports the parts of ``peers.py``: rounds and facts about the machine come from the
script, which runs with this folder's parent on its path and not as a package.
"""
