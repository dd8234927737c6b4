"""Networks on ONNX Runtime: sessions, arithmetic, providers and the plan of a session."""
