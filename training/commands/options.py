"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[Path, typer.Option("--data", envvar="SPLADE_DATA", help="Folder that a recipe's paths are relative to.")]
DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
