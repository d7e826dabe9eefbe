"""Taps: named read points in any model, and what reads them. Needs torch and nothing else."""
