"""`python -m splade_ptbr_connectors`: the same as the command `splade-ptbr`."""

from .cli.main import main

main()
