"""Tensors of a teacher on disk, one row an example."""
