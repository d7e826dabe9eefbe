"""Experiments: recipe -> run -> report."""
