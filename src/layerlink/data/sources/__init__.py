"""The sources of images that a recipe may name: one a file, and ``table.py``, which names them all."""
