"""Folders of images: what lies in one, which of it trains and which tests, which map of labels is whose."""
