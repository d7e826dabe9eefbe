"""Losses between activations."""
