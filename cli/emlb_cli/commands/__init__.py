"""One file per command of ``emlb``."""
