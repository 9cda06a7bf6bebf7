"""The Python that a page shows."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def blocks(name: str) -> list[str]:
    """The blocks of a page of the repository, in order."""
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


def run_block(name: str, library: str) -> None:
    """Run the one block of a page that imports this module of the package, in this process, where its libraries are loaded already."""
    [code] = [block for block in blocks(name) if f"from splade_ptbr_connectors.{library} import" in block]
    exec(code, {})  # noqa: S102 - our own page
