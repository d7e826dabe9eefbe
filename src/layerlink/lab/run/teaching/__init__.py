"""The teacher of a training: what is read from disk, what is computed."""
