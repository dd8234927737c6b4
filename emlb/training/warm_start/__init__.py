"""Training that begins with the weights of a run or a bundle."""
