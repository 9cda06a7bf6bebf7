"""`run` and `prune`: engines side by side on one collection, each step in a process of its own."""
