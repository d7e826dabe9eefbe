"""What chance may have done: spreads, tests of differences, which row may be called best. Pure functions of numbers."""
