"""What the commands share: console, options, parser, progress."""
