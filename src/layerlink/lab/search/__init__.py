"""Searches: Optuna proposes recipes, cohorts train them."""
