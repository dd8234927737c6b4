"""How fast a bundle is, and where the time goes."""
