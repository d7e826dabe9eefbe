"""Files and folders: whole or not at all, held by one process at a time, weights and names."""
