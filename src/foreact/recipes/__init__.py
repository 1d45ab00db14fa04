"""Recipes: published systems as data. `foreact.recipes.catalogue` lists them."""
