"""`long`: documents of many passages, found whole and by their passages."""
