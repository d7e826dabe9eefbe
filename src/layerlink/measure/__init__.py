"""What models cost and how alike they are; of models, not of runs."""
