"""Labelled texts: read from tables, tokenised once, padded batch by batch."""
