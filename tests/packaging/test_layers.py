"""Data flows one way: a module may import only from layers below its own, and never `training` or `benchmarks`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "splade_ptbr_connectors"

# From the ground up; a name stands for a module or for a folder with everything in it.
LAYERS = [
    {"errors"},
    {"extras", "languages", "atomic", "numerals", "line_files", "batches", "strict", "cores", "turns"},
    {"vectors", "text", "validation", "borders"},
    {"json_values", "pruning", "plots"},
    {"records", "filters"},
    {"encoding"},
    {"splitting"},
    {"sources", "stores"},
    {"ingestion", "retrieval", "dense"},
    {"hybrid"},
    {"langchain", "llama_index", "fastembed", "haystack", "sentence_transformers", "evaluation", "distributed", "hits"},
    {"demo", "interchange", "play"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def imported(path: Path) -> set[str]:
    """Top-level parts of this package that a file imports anywhere, lazily or for types included."""
    names: set[str] = set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= outside(node.module)
        elif isinstance(node, ast.Import):
            names |= {name for alias in node.names for name in outside(alias.name)}
    return names


def outside(module: str) -> set[str]:
    parts = module.split(".")
    if parts[0] in ("training", "benchmarks", "tests"):
        return {parts[0]}
    return {parts[1]} if parts[0] == "splade_ptbr_connectors" and len(parts) > 1 else set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imported(path) - {"__version__"}:
        assert name == own or LEVEL[name] < LEVEL[own], f"{own} may not import {name}"


def test_every_module_has_a_layer() -> None:
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} <= LEVEL.keys()
