"""Losses between outputs."""
