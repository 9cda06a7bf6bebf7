"""python -m training push."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from training.publish.push import Planned


def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a packed model, with its card.")],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository of the hub; it is created if need be.")],
    private: Annotated[bool, typer.Option("--private", help="Create it private; one that is public already is refused.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch; default main.")] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the folder, list what would be sent, and stop.")] = False,
) -> None:
    """Push a model folder to the Hugging Face hub; running it again resumes where it stopped.

    The token is that of `hf auth login` or HF_TOKEN, the hub that of HF_ENDPOINT.
    """
    from training.publish.push import plan
    from training.publish.push import push as push_planned

    planned = plan(folder)
    _show(planned)
    if dry_run:
        typer.echo("dry run: nothing was sent")
        return
    pushed = push_planned(planned, repo_id, private=private, revision=revision, message=message)
    for name in pushed.kept:
        typer.echo(f"stays on the hub, not in the folder: {name}", err=True)
    typer.echo(f"{pushed.url} at {pushed.commit}")


def _show(planned: Planned) -> None:
    for name, size in planned.files:
        typer.echo(f"{size:>14,}  {name}", err=True)
    typer.echo(f"{planned.total_bytes:>14,}  bytes in {len(planned.files)} files, licence {planned.license}", err=True)
    for name in planned.left_out:
        typer.echo(f"not sent, hidden: {name}", err=True)
