"""Other people's training loops: a subclass of theirs that trains by a distiller. Each is imported by its own name."""
