"""Where a model looked when it found a triple (figure 1C of Guo, Liu & Niu 2023).

Attention shows what was looked at, not why the model decided as it did.
"""
