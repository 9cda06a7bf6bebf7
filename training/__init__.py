"""Training of learned sparse models, run from a checkout: `python -m training --help`."""
