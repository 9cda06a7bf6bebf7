"""`splade-ptbr play` in a process of its own, as a person starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

END_S = 120  # only to end a hang


@dataclass
class Playing:
    """A running command, and the URL of its page."""

    process: subprocess.Popen[str]
    url: str

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C. Returns the exit code and what was written to stderr."""
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=END_S)
        return self.process.returncode, err


@contextmanager
def playing(*stores: str, folder: Path | None = None) -> Iterator[Playing]:
    """The command over these stores, run in a folder, listening; ended by Ctrl-C at the end of the block unless it has ended before."""
    arguments = [argument for store in stores for argument in ("--store", store)]
    command = [sys.executable, "-m", "splade_ptbr_connectors", "play", *arguments, "--port", "0", "--json"]
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=folder) as process:
        assert process.stdout is not None
        try:
            yield Playing(process, _first_document(process.stdout)["url"])
        finally:
            if process.poll() is None:
                Playing(process, "").interrupt()


def _first_document(lines: IO[str]) -> dict[str, str]:
    text = ""
    for line in lines:
        text += line
        if line.rstrip() == "}":
            break
    document: dict[str, str] = json.loads(text)
    return document
