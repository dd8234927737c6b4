"""A bundle on disk: configuration, checks, weights."""
