"""`training` and `benchmarks` consist of rooms, and a room imports only from rooms below its own: no circle, nothing borrowed sideways."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the ground up; rooms of one level know nothing of each other.
ROOMS = {
    "training": [
        {"recipe"},
        {"data", "measure", "runlog"},
        {"models", "mining", "plots", "publish"},
        {"loop", "words"},
        {"cost"},
        {"commands"},
        {"__main__"},
    ],
    "benchmarks": [
        {"harness"},
        {"workloads"},
        {"engines"},
        {"comparison", "encoding", "hybrid", "index", "passages", "stores", "training"},
        {"__main__"},
    ],
}
FILES = [path for top in ROOMS for path in (ROOT / top).rglob("*.py") if path != ROOT / top / "__init__.py"]


def imported(path: Path) -> set[str]:
    """Modules of the two packages that a file imports anywhere, lazily or for types included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] in ROOMS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_from_rooms_below(path: Path) -> None:
    top, own = path.relative_to(ROOT).parts[0], path.relative_to(ROOT).parts[1].removesuffix(".py")
    level = {room: number for number, rooms in enumerate(ROOMS[top]) for room in rooms}
    for name in imported(path):
        other, room = name.split(".")[:2]
        if other == top:
            assert room == own or level[room] < level[own], f"{own} may not import {room}"
        else:
            assert (top, own) == ("benchmarks", "training"), f"{top} may not import {other}"


@pytest.mark.parametrize("top", ROOMS)
def test_nothing_lies_at_the_root(top: str) -> None:
    there = {path.name for path in (ROOT / top).iterdir() if path.suffix == ".py"}
    assert there == {"__init__.py", "__main__.py"}
    rooms = {path.name for path in (ROOT / top).iterdir() if (path / "__init__.py").exists()}
    assert rooms == {room for rooms in ROOMS[top] for room in rooms} - {"__main__"}
