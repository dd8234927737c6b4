"""From a trained model to a bundle that runs without torch."""
