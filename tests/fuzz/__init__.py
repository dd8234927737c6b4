"""Fuzzing of the readers and the extractor; see ``run``."""
