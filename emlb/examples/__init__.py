"""Documents as training windows, with what is known about their labels."""
