"""A model as source: forward methods recorded, classes and buffers written, as plain PyTorch."""
