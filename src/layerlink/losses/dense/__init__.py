"""Losses of dense predictions: between maps whose positions each have a label, or a score."""
