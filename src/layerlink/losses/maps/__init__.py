"""Losses between activations, with nothing to train."""
