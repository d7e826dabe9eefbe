"""Losses between activations that train something of their own."""
