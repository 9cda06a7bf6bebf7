"""Growth: the stream is the collection, what a query reads is counted right, and the command measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("numba")
pytest.importorskip("matplotlib")

from benchmarks import __main__ as program
from benchmarks.index import growth
from benchmarks.workloads.ready_vectors import VOCABULARY
from benchmarks.workloads.synthetic import CHUNK, make_collection, stream_collection
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.stores.numba.index import joined
from splade_ptbr_connectors.stores.numba.postings import GROUP
from splade_ptbr_connectors.stores.numba.window import Window


def test_the_stream_is_the_collection() -> None:
    whole, _ = make_collection(CHUNK + 10, 1, drawn=5)
    stream, asked = stream_collection(CHUNK + 10, 4, drawn=5)
    parts = list(stream)
    assert [len(part) for part in parts] == [CHUNK, 10]
    streamed = joined(parts)
    assert all(np.array_equal(getattr(streamed, name), getattr(whole, name)) for name in ("indptr", "term_ids", "weights"))
    _, same = stream_collection(10, 4, drawn=5)
    assert asked == same and len(asked) == 4


def test_no_document_has_a_term_twice() -> None:
    batch, _ = make_collection(500, 1)
    assert all(np.all(np.diff(vector.term_ids.astype(np.int64)) > 0) for vector in batch)


def test_bytes_of_postings_are_counted_by_hand() -> None:
    batch, asked = make_collection(3_000, 5, drawn=40)
    window = Window.build(batch)
    lists, columns = growth.POSTING_BYTES, -(-len(batch) // GROUP) * GROUP
    frequency = np.bincount(batch.term_ids, minlength=VOCABULARY)
    held = set(window.arrays["terms"][window.arrays["column"] >= 0].tolist())
    expected = [sum(columns if term in held else lists * int(frequency[term]) for term in query.term_ids.tolist()) for query in asked]
    assert held and growth._touched_bytes([window], asked) == pytest.approx(np.mean(expected))


def test_a_line_in_logarithms_has_its_exponent() -> None:
    rows = [{"documents": size, "top 10, ms": 3 * size**0.8, "top 1000, ms": 5.0 * size} for size in (10, 100, 5_000)]
    assert growth._exponents(rows) == {"exponent of top 10, ms": pytest.approx(0.8), "exponent of top 1000, ms": pytest.approx(1.0)}
    assert growth._exponents(rows[:1]) == {}


def test_the_command_measures_every_size_and_keeps_the_index(tmp_path: Path) -> None:
    arguments = ["growth", "--documents", "70000,2000", "--queries", "3", "--rounds", "1", "--folder", str(tmp_path), "--json"]
    arguments += ["--picture", str(tmp_path / "growth.svg"), "--rivals", "numba-8bit", "--rivals-up-to", "2000"]
    written, facts = list[float](), list[object]()
    for _ in range(2):
        done = CliRunner().invoke(program.app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        content = json.loads(done.stdout)
        assert [row["documents"] for row in content["rows"]] == [65_536, 70_000]
        small, large = content["rows"]
        assert small["numba-8bit: of the exact top 10"] > 0.9 and not any("numba-8bit" in name for name in large)
        assert small["postings read, MB a query"] < large["postings read, MB a query"]
        written.append((tmp_path / "growth-70000/index.json").stat().st_mtime_ns)
        facts.append(content["facts"]["built, documents/s"])
    assert written[0] == written[1] and facts[0] == facts[1]  # built once
    assert (tmp_path / "growth.svg").read_bytes().startswith(b"<?xml")
    assert {path.name for path in tmp_path.iterdir()} == {"growth-70000", "growth-70000.json", "growth.svg"}


@pytest.mark.parametrize("sizes", ["", "many", "0", "5,-1"])
def test_sizes_are_whole_numbers(sizes: str) -> None:
    with pytest.raises(ConfigError, match="whole numbers above 0"):
        growth._sizes(sizes)
