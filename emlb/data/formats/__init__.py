"""Corpora as they are released, and how their format is recognised."""
