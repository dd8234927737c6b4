"""What a task annotates: its types, labels, attributes and calibration."""
