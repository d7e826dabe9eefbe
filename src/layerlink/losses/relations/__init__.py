"""Losses between the examples of a batch, or of a memory."""
