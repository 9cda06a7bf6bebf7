"""Concepts: a small sentence encoder that learns from a large one, and the directions that its embeddings are spelled in."""
