"""Reports: many runs on one page, the answer first."""
