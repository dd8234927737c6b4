"""Notes that hurt; see ``notes``."""
