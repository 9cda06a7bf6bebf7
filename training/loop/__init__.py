"""How a step works, which checkpoint is kept, and a whole run."""
