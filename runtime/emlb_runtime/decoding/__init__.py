"""From the networks' scores to mentions, relations and attributes."""
