"""Triplets of ids: batches of the file's own triplets, no positive among negatives, resumed exactly, within bounded memory."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from splade_ptbr_connectors.errors import ConfigError, InputFileError
from tests.training.data.support import same_batch, travelled
from training.data import blocks, triplets
from training.data.open import open_batches
from training.data.triplets import TripletBatches
from training.recipe.sections import TripletsData

SECTION = TripletsData(collection="collection.tsv", queries="queries.tsv", triples="triples.tsv")
Triplet = tuple[int, int, int]


def write(
    folder: Path, lines: list[Triplet], qrels: list[tuple[int, int, int]] | None = None, *, queries: int = 6, documents: int = 12
) -> None:
    (folder / "queries.tsv").write_text("".join(f"{n * 10}\tpergunta {n}\n" for n in range(queries)), encoding="utf-8")
    (folder / "collection.tsv").write_text("".join(f"{n}\tpassagem {n}\n" for n in range(documents)), encoding="utf-8")
    (folder / "triples.tsv").write_text("".join(f"{q * 10}\t{p}\t{n}\n" for q, p, n in lines), encoding="utf-8")
    if qrels is not None:
        (folder / "qrels.tsv").write_text("".join(f"{q * 10}\t0\t{d}\t{r}\n" for q, d, r in qrels), encoding="utf-8")


def opened(folder: Path, section: TripletsData = SECTION, *, batch: int = 2, seed: int = 3) -> TripletBatches:
    return TripletBatches(section, folder, folder / "cache", batch_queries=batch, seed=seed)


def with_qrels(limit: int | None = None) -> TripletsData:
    return TripletsData(collection="collection.tsv", queries="queries.tsv", triples="triples.tsv", qrels="qrels.tsv", limit=limit)


TRIPLETS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 11), st.integers(0, 11)), min_size=1, max_size=25)
JUDGED = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 11), st.integers(-1, 2)), min_size=1, max_size=12, unique_by=lambda row: row[:2]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(lines=TRIPLETS, judged=JUDGED, data=st.data())
def test_an_epoch_is_every_triplet_without_a_positive_as_negative_and_every_positive_is_marked(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Triplet], judged: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("triplets")
    write(folder, lines, judged)
    positives = {(q, p) for q, p, _ in lines} | {(q, d) for q, d, r in judged if r > 0}
    expected = sorted(triplet for triplet in lines if (triplet[0], triplet[2]) not in positives)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", data.draw(st.integers(10, 200)))
        patch.setattr(triplets, "_CHUNK", data.draw(st.integers(1, 30)))
        if not expected:
            with pytest.raises(InputFileError, match="no triplet is left"):
                opened(folder, with_qrels())
            return
        source = opened(folder, with_qrels(), batch=data.draw(st.integers(1, len(expected))))
    assert source.sizes["left_out_negative_is_positive"] == len(lines) - len(expected)
    seen: list[Triplet] = []
    for step in range(source.sizes["steps_per_epoch"]):
        batch = source.batch(step)
        for row, query in enumerate(batch.queries):
            number = int(query.split()[1])
            named = [int(text.split()[1]) for text in batch.documents]
            assert batch.relevant[row].tolist() == [(number, document) in positives for document in named]
            seen.append((number, named[batch.positive[row]], named[int(np.flatnonzero(batch.own[row])[0])]))
    assert sorted(seen[: len(expected)]) == expected


def test_a_resumed_run_gets_bit_identical_batches_from_any_process(tmp_path: Path) -> None:
    write(tmp_path, [(n % 6, n % 5, 5 + n % 7) for n in range(40)], [(0, 0, 1)])
    used = opened(tmp_path, with_qrels(), batch=8)
    batches = [used.batch(step) for step in range(30)]
    fresh, carried = opened(tmp_path, with_qrels(), batch=8), travelled(used)
    for step in (29, 0, 17, 4, 5):
        assert same_batch(fresh.batch(step), batches[step]) and same_batch(carried.batch(step), batches[step])
    other = opened(tmp_path, with_qrels(), batch=8, seed=4)
    assert not all(same_batch(other.batch(step), batches[step]) for step in range(5))
    assert not same_batch(batches[0], batches[5])  # the next epoch has another order


def test_the_same_query_twice_in_a_batch_shares_its_positives(tmp_path: Path) -> None:
    write(tmp_path, [(0, 1, 7), (0, 2, 8)])
    batch = opened(tmp_path).batch(0)
    assert batch.queries == ["pergunta 0"] * 2 and len(batch.documents) == 4
    right = {batch.documents.index(f"passagem {n}") for n in (1, 2)}
    assert [set(np.flatnonzero(row).tolist()) for row in batch.relevant] == [right, right]


def test_what_is_left_out_is_counted_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [(0, 1, 7), (0, 1, 1), (1, 2, 3), (1, 4, 2), (2, 5, 6), (3, 8, 11), (3, 8, 9)]
    write(tmp_path, lines, [(2, 6, 1), (2, 5, 1), (99, 1, 1), (0, 77, 1), (3, 9, 0)])
    (tmp_path / "collection.tsv").write_text("".join(f"{n}\t{' ' if n == 11 else n}\n" for n in range(12)), encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        sizes = opened(tmp_path, with_qrels()).sizes
    assert sizes["lines"] == 7 and sizes["triplets"] == 3
    assert sizes["left_out_negative_is_positive"] == 3 and sizes["left_out_empty_text"] == 1
    assert sizes["judgments_outside_the_files"] == 2 and sizes["positives_not_judged"] == 5
    assert "left out negative is positive: 3" in caplog.text and "left out empty text: 1" in caplog.text
    caplog.clear()
    assert opened(tmp_path, with_qrels()).sizes == sizes


def test_the_limit_reads_no_line_behind_it(tmp_path: Path) -> None:
    write(tmp_path, [(0, 1, 2), (1, 2, 3), (2, 3, 4)])
    with open(tmp_path / "triples.tsv", "a", encoding="utf-8") as file:
        file.write("broken\n")
    limited = opened(tmp_path, TripletsData(collection="collection.tsv", queries="queries.tsv", triples="triples.tsv", limit=3), batch=3)
    assert sorted(limited.batch(0).queries) == ["pergunta 0", "pergunta 1", "pergunta 2"]
    with pytest.raises(InputFileError, match="line 4: 1 columns instead of 3"):
        opened(tmp_path)
    with pytest.raises(ValidationError, match=r"(?s)limit.*greater than 0"):
        with_qrels(limit=0)


def test_a_broken_line_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    write(tmp_path, [(0, 1, 2)] * 1000 + [(0, 1, 12)])
    with pytest.raises(InputFileError, match=r"triples.tsv, line 1001: the negative '12' is not an id of .*collection.tsv"):
        opened(tmp_path)
    assert not list((tmp_path / "cache").glob("triplets*/"))


def test_fewer_triplets_than_a_batch_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, [(0, 1, 2), (1, 2, 3)])
    with pytest.raises(ConfigError, match="batch_queries is 3, but the data has 2 rows"):
        opened(tmp_path, batch=3)


@pytest.mark.parametrize("name", ["collection.tsv", "queries.tsv", "triples.tsv", "qrels.tsv"])
def test_every_file_is_part_of_the_identity(tmp_path: Path, name: str) -> None:
    write(tmp_path, [(0, 1, 2), (1, 2, 3)], [(0, 1, 1)])
    before = opened(tmp_path, with_qrels())
    lines = (tmp_path / name).read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / name).write_text("".join(lines[1:] + lines[:1]) if len(lines) > 1 else "10\t0\t2\t1\n", encoding="utf-8")
    after = opened(tmp_path, with_qrels())
    assert after.sha256 != before.sha256
    assert sorted(after.batch(0).queries) == ["pergunta 0", "pergunta 1"]  # rows follow the changed files


def test_batches_do_not_depend_on_the_order_of_the_text_files(tmp_path: Path) -> None:
    write(tmp_path, [(n % 6, n % 5, 5 + n % 7) for n in range(40)])
    before = [opened(tmp_path).batch(step) for step in range(5)]
    for name in ("collection.tsv", "queries.tsv"):
        lines = (tmp_path / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (tmp_path / name).write_text("".join(lines[::-1]), encoding="utf-8")
    assert all(same_batch(opened(tmp_path).batch(step), batch) for step, batch in enumerate(before))


def test_dispatch_by_kind(tmp_path: Path) -> None:
    write(tmp_path, [(0, 1, 2), (1, 2, 3)])
    source = open_batches(SECTION, tmp_path, tmp_path / "cache", batch_queries=2, seed=3)
    assert same_batch(source.batch(0), opened(tmp_path).batch(0)) and source.batch(0).source == "triplets"
    with pytest.raises(ConfigError, match="expected one of triplets, triplet_texts, scored, hub"):
        open_batches(object(), tmp_path, tmp_path / "cache", batch_queries=2, seed=3)


MEMORY = """
import sys
from pathlib import Path
from training.data import open as data
from training.recipe.sections import TripletsData
folder = Path(sys.argv[1])
section = TripletsData(collection="collection.tsv", queries="queries.tsv", triples="triples.tsv")
source = data.open_batches(section, folder, folder / "cache", batch_queries=32, seed=0)
for step in range(50):
    source.batch(step)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    documents, padding = 100_000, "x" * 2_000  # 200 MB of texts
    random = np.random.default_rng(0).integers(1, documents, size=(300_000, 2)).tolist()
    with open(tmp_path / "collection.tsv", "w", encoding="utf-8") as file:
        file.writelines(f"{n}\t{padding}\n" for n in range(documents))
    (tmp_path / "queries.tsv").write_text("".join(f"{n}\tpergunta\n" for n in range(1000)), encoding="utf-8")
    with open(tmp_path / "triples.tsv", "w", encoding="utf-8") as file:
        file.writelines(f"{n % 1000}\t{one}\t{other}\n" for n, (one, other) in enumerate(random))
    root = Path(__file__).resolve().parents[3]
    for bound in (250_000, 100_000):  # kB: making the arrays, then using them
        done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True)
        assert int(done.stdout) < bound
