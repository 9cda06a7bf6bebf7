"""The wheel holds one top-level name; `training` and `benchmarks` stay in the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy_of_checkout(out / "src"))]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return zipfile.ZipFile(next(out.glob("*.whl")))


def copy_of_checkout(target: Path) -> Path:
    """The files git would hand to a new clone, so that building leaves no trace in this checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
    return target


def test_one_top_level_name(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"splade_ptbr_connectors"}


def test_models_sample_pages_and_types_are_inside(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for wanted in (
        "py.typed",
        "sample/corpus.jsonl",
        "sample/qrels/test.tsv",
        "models/mini/splade.json",
        "models/mini/concepts/model.onnx",
        "models/mini-lexico/expansion.safetensors",
        "plots/templates/page.html",
        "cli/words.json",
        *(f"play/static/{name}" for name in ("index.html", "style.css", "play.js", "words.json", "icon.svg")),
    ):
        assert f"splade_ptbr_connectors/{wanted}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.parametrize(("model", "megabytes"), [("mini", 25), ("mini-lexico", 8)])
def test_the_shipped_models_are_small(wheel: zipfile.ZipFile, model: str, megabytes: int) -> None:
    inside = [info for info in wheel.infolist() if f"/models/{model}/" in info.filename]
    assert 0 < sum(info.file_size for info in inside) <= megabytes * 1e6


def test_no_machine_path_or_package_host_is_in_the_project() -> None:
    needles = ["/work/" + "main", "/work/" + "shared", "/opt/" + "dev", "files.python" + "hosted", "/" + "root/"]
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        assert [needle for needle in needles if needle.encode() in data] == [], name


@pytest.mark.parametrize("name", ["training", "benchmarks", "tests"])
def test_an_editable_install_leaks_no_other_name(name: str, tmp_path: Path) -> None:
    code = f"import splade_ptbr_connectors, importlib.util as u; print(u.find_spec({name!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "None" in done.stdout or str(ROOT) not in done.stdout
