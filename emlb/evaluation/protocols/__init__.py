"""The scoring rules of shared tasks, as their own programs apply them."""
