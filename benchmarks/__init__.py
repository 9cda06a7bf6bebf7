"""Measurements, run from a checkout: python -m benchmarks NAME. Each file is one benchmark; report.py is shared by all."""
