"""The commands `emlb-run` and `emlb`."""
