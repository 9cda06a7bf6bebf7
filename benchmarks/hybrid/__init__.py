"""Sparse search, dense search and both together: how well each finds the documents of test collections."""
