"""Training: configuration, candidates, the joint loss, and the run."""
