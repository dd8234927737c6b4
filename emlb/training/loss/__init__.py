"""The parts of the joint loss, equation (11) of the paper, and their sum."""
