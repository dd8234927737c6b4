"""The paper's ablation: what its entity and relation heads, and sharing an encoder, add."""
