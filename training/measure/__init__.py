"""How good a model is: exact search, measures on test collections, significance."""
