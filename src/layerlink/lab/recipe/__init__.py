"""Recipes: what describes a run."""
