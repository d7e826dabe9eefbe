"""From a recipe to what is trained."""
