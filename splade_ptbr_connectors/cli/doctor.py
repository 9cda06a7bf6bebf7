"""splade-ptbr doctor."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from ..errors import ConfigError, ModelError, SpladeConnectorsError
from .console import counted, emit, show_table
from .exit_codes import exit_code_of
from .options import PREFIX, Json, load_encoder

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
    """A broken part is a finding; it does not end the check."""
    from ..stores.address import without_login

    try:
        return check(name)
    except SpladeConnectorsError as error:
        return {"name": without_login(name), "error": str(error), "exit_code": int(exit_code_of(error))}


def _models() -> list[dict[str, Any]]:
    from ..encoding.folder import shipped_models

    return [_checked(_model, name) for name in shipped_models()]


def _model(name: str) -> dict[str, Any]:
    model = load_encoder(name)
    return {"name": name, "runtime": model.runtime.name, "vocabulary": model.vocab_size, "fingerprint": model.fingerprint}


def _store(url: str) -> dict[str, Any]:
    """What the store reports about itself; an unusable model is one more finding."""
    from ..stores.aliases import open_as_it_is, open_without_model

    try:
        opened, error = open_as_it_is(url), None
    except (ConfigError, ModelError) as caught:
        opened, error = open_without_model(url), caught  # raises again what is not about the model
    with opened:
        info, model = opened.info(), None if error else opened.encoder.name
        problems = _problems(info, described=opened.fingerprint is not None)
        about = {"name": opened.url, "engine": opened.engine, "documents": opened.count(), "model": model}
        found = {**about, "info": info, "problems": problems, "lacks": _lacks(info)}
    return found if error is None else {**found, "error": str(error), "exit_code": int(exit_code_of(error))}


def _problems(info: Mapping[str, Any], *, described: bool) -> list[str]:
    """What is wrong with the store or may become so, each with what to do about it."""
    problems = []
    if not described:
        problems.append("it does not say which model filled it: splade-ptbr adopt --store URL --model MODEL")
    if info.get("interrupted_load"):
        problems.append("the settings of an interrupted load are still in force: run that ingest again, its end restores them")
    if info.get("status") == "red":
        problems.append("its status is red: look at the server's log")
    return problems


def _lacks(info: Mapping[str, Any]) -> list[str]:
    """Optional features that the server lacks; everything works without them."""
    missing = []
    if info.get("neural_sparse") is False:
        missing.append("the neural-search plugin (2.14 or later): queries are written as rank_feature clauses, with the same hits")
    if info.get("sparse_vector") is False:
        missing.append("sparse_vector fields (neural-search 3.3 or later): no approximate search")
    return missing


def _render(document: dict[str, Any], console: Console) -> None:
    console.print(f"splade-ptbr-connectors {document['version']}, Python {document['python']}, {document['platform']}")
    rows = [(library["name"], library["version"] or "missing", _needs(library)) for library in document["libraries"]]
    show_table(console, ("library", "version", "needed for"), rows)
    if missing := document["missing_extras"]:
        extra = f"[{missing[0]}]"
        console.print(
            f'an extra is installed by name: pip install "{DISTRIBUTION}{extra}", or in a clone pip install ".{extra}"', markup=False
        )
    console.print("runtimes: " + ", ".join(name for name, there in document["runtimes"].items() if there))
    for model in document["models"]:
        _line(console, f"model {model['name']}", model, "{runtime}, {vocabulary:,} terms, fingerprint {fingerprint:.12}")
    if store := document["store"]:
        held = counted(store.get("documents", 0), "document")
        _line(console, f"store {store['name']}", store, held + ", model {model}")
        for name, value in _flat(store.get("info", {})):
            console.print(f"  {name}: {value}", markup=False)
        for missing in store.get("lacks", ()):
            console.print(f"  lacks: {missing}", markup=False)
        for problem in store.get("problems", ()):
            console.print(f"  problem: {problem}", style="yellow", markup=False)


def _flat(info: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as `part.name: value`; what the first line already says, and the problems, are left out."""
    for name, value in info.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif not (prefix == "" and name in ("url", "documents", "problems")):
            yield prefix + name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _line(console: Console, what: str, part: dict[str, Any], pattern: str) -> None:
    broken = "error" in part
    console.print(f"{what}: {part['error'] if broken else pattern.format(**part)}", style="red" if broken else None, markup=False)


def _needs(library: dict[str, Any]) -> str:
    if library["extra"] == BASE:
        return "everything"
    return f"[{library['extra']}]"
