"""Sweeps and searches: families of recipes over one base, run as cohorts."""
