"""A step of a run, made once more and looked at: whose values overflowed first."""
