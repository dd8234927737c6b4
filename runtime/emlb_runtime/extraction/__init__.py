"""What an ``Extractor`` is made of: its recipe, its threads and its checks of arguments."""
