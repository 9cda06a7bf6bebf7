"""Recipes: every key, typed and checked; TOML files, and keys without effect."""
