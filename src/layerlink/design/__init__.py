"""What comes before a training: which layers to link."""
