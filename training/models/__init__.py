"""What is trained, from a recipe to an untrained model, and what is saved of it."""
