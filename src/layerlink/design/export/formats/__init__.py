"""Files that a trained student leaves the project in: one kind a module, all of them in ``table.py``."""
