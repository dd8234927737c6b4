"""EMLB: training and evaluation of joint entity and relation extraction (PyTorch)."""
