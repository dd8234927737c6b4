"""From text to subwords, layout and windows."""
