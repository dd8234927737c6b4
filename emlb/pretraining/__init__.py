"""Masked-language-model training of an encoder on raw clinical notes.

Shapes: W windows, P pieces of a corpus, B windows of a batch, T pieces of a window, N masked
pieces of a batch, V the vocabulary.
"""
