"""The files that images come from, one format a file."""
