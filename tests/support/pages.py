"""The Python and the commands that a page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def text_of(name: str) -> str:
    """A page of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[str]:
    """The blocks of a page of the repository, in order."""
    return re.findall(r"```python\n(.*?)```", text_of(name), re.DOTALL)


def run(code: list[str], folder: Path) -> str:
    """Run blocks one after the other in a process of its own, from a file, as processes that they start want it; returns its stdout."""
    script = folder / "page.py"
    script.write_text("\n".join(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", script.name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_block(name: str, library: str) -> None:
    """Run the one block of a page that imports this module of the package, in this process, where its libraries are loaded already."""
    [code] = [block for block in blocks(name) if f"from splade_ptbr_connectors.{library} import" in block]
    exec(code, {})  # noqa: S102 - our own page


def commands(name: str) -> list[str]:
    """The commands of this package on a page, each of which exists with the options that it is shown with."""
    from typer.main import get_command

    from splade_ptbr_connectors.cli.main import app

    known = get_command(app).commands  # type: ignore[attr-defined]
    shown = re.findall(r"^splade-ptbr (\w+)(.*?)(?:  #.*)?$", text_of(name), re.MULTILINE)
    for command, arguments in shown:
        options = {option for parameter in known[command].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", arguments)) <= options, (command, arguments)
    return [command for command, _ in shown]
