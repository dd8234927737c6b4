"""The commands `emlb-run` and `emlb`."""

import os

# The workers are the threads. OpenBLAS would start one per core when NumPy is imported, and
# interrupts the process if the system refuses one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
