"""A student while it learns: its step, its optimiser, what keeps its numbers finite."""
