"""The command `splade-ptbr`: one file per command, each with --json. Heavy imports happen inside the commands."""
