"""Learning from teachers: their hard labels or their probabilities."""
