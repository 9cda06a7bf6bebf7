"""The model card, and the way to the hub."""
