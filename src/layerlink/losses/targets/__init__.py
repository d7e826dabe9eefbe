"""Losses of outputs that know the label: its class is treated apart from the others. One method a file."""
