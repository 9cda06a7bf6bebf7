"""`encode`: our runtimes beside sentence-transformers."""
