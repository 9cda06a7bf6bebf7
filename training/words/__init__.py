"""Models without a network: a vocabulary of words, a thesaurus, and the gate that says which of its words a query is given."""
