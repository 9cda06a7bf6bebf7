"""What a training step is made of: the head, and the reader of triplets."""
