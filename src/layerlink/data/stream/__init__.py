"""Images that do not fit into memory: found once, read and decoded when a batch asks for them."""
