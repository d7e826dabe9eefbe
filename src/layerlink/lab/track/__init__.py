"""Trackers: other people's tools that are told of every epoch of a run. Each is a file and a line in the table."""
