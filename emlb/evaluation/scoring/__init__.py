"""Matching predictions with annotations, and counting."""
