"""What engines are given: a collection's vectors, texts and judgments in a folder."""
