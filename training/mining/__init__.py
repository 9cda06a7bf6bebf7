"""Hard negatives, and teacher scores for them."""
