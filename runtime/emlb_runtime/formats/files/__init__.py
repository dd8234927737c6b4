"""Files themselves: size limits, atomic writes, compression."""
