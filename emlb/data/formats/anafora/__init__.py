"""Anafora XML, the format of Clinical TempEval (THYME)."""
