"""Running engines: prepare a workload, build and search in one process after another, compare with the exact ranking."""
