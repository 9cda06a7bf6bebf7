"""Where batches come from: sources of every kind, read as a whole or by byte offset, and tokenising."""
