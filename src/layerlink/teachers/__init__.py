"""Teachers: whatever gives what is asked for, for a batch, without gradients."""
