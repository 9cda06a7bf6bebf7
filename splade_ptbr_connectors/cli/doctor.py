"""splade-ptbr doctor."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from ..errors import SpladeConnectorsError
from .console import emit
from .exit_codes import exit_code_of
from .options import PREFIX, Json, load_encoder, open_filled_store
from .render import show_table

if TYPE_CHECKING:
    from rich.console import Console

BASE = "base"
DISTRIBUTION = "splade-ptbr-connectors"
_REQUIREMENT = re.compile(r"""(?P<name>[\w.-]+)[^;]*(;.*extra == ["'](?P<extra>[\w-]+)["'])?""")


def doctor(
    store: Annotated[str | None, typer.Option("--store", envvar=PREFIX + "STORE", metavar="URL", help="Check this store as well.")] = None,
    as_json: Json = False,
) -> None:
    """Show what is installed, which models and runtimes can be used, and whether a store opens."""
    libraries = [{"name": name, "extra": extra, "version": _version(name)} for name, extra in _declared()]
    document: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "libraries": libraries,
        "missing_extras": sorted({str(library["extra"]) for library in libraries if library["version"] is None}),
        "runtimes": {"onnx": _version("onnxruntime") is not None, "torch": _version("torch") is not None},
        "models": _models(),
        "store": _checked(_store, store) if store else None,
    }
    emit(document, _render, as_json=as_json)
    codes = [part["exit_code"] for part in (*document["models"], document["store"] or {}) if "error" in part]
    if codes:
        raise typer.Exit(codes[0])


def _declared() -> list[tuple[str, str]]:
    """(distribution, extra) as the installed package declares them; nothing when it runs without being installed."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        lines = []
    found = [match for line in lines if (match := _REQUIREMENT.match(line)) and match["name"] != DISTRIBUTION]
    return [(match["name"], match["extra"] or BASE) for match in found]


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _checked(check: Callable[[str], dict[str, Any]], name: str) -> dict[str, Any]:
    """A part that is broken is a finding, not the end of the examination."""
    try:
        return check(name)
    except SpladeConnectorsError as error:
        return {"name": name, "error": str(error), "exit_code": int(exit_code_of(error))}


def _models() -> list[dict[str, Any]]:
    from ..encoding.folder import shipped_models

    return [_checked(_model, name) for name in shipped_models()]


def _model(name: str) -> dict[str, Any]:
    model = load_encoder(name)
    return {"name": name, "runtime": model.runtime.name, "vocabulary": model.vocab_size, "fingerprint": model.fingerprint}


def _store(url: str) -> dict[str, Any]:
    with open_filled_store(url, None) as opened:
        return {"name": opened.url, "engine": opened.engine, "documents": opened.count(), "model": opened.encoder.name}


def _render(document: dict[str, Any], console: Console) -> None:
    console.print(f"splade-ptbr-connectors {document['version']}, Python {document['python']}, {document['platform']}")
    rows = [(library["name"], library["version"] or "missing", _needs(library)) for library in document["libraries"]]
    show_table(console, ("library", "version", "needed for"), rows)
    console.print("runtimes: " + ", ".join(name for name, there in document["runtimes"].items() if there))
    for model in document["models"]:
        _line(console, f"model {model['name']}", model, "{runtime}, {vocabulary:,} terms, fingerprint {fingerprint:.12}")
    if store := document["store"]:
        _line(console, f"store {store['name']}", store, "{documents:,} documents, model {model}")


def _line(console: Console, what: str, part: dict[str, Any], pattern: str) -> None:
    broken = "error" in part
    console.print(f"{what}: {part['error'] if broken else pattern.format(**part)}", style="red" if broken else None, markup=False)


def _needs(library: dict[str, Any]) -> str:
    if library["extra"] == BASE:
        return "everything"
    return f"[{library['extra']}]" if library["version"] else f'pip install "splade-ptbr-connectors[{library["extra"]}]"'
