"""What trained models and their runs are read for: scores, odd things, whether they can be made again."""
