"""The process that the command line runs in."""
