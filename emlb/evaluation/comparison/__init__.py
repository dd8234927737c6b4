"""Bootstrap intervals, and how much retraining changes."""
