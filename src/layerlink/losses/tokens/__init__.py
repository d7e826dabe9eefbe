"""Losses of sequences (N, L, D)."""
