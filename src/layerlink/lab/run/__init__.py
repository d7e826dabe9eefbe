"""A run: set up, trained, kept, read again."""
