"""Stores as programs meet them: loading, opening, searching, and what they cost."""
