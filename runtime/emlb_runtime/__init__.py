"""EMLB at run time: entities and relations from clinical notes, without torch."""

__version__ = "0.1.0"
