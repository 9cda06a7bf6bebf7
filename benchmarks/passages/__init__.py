"""`long`: documents of many passages, found whole and by their passages; `judged`: those of a collection of long documents."""
