"""Tasks: what outputs mean, how well they are, and what chance is."""
