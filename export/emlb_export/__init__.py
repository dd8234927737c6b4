"""From a trained model to a bundle that runs without torch."""

import emlb_runtime  # noqa: F401 - it keeps ONNX Runtime off the network, so it comes first
