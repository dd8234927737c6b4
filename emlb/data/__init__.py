"""Corpora: what they annotate, how they are split, and how they become training windows."""
