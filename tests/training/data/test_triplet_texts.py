"""Text triplets: batches of the file's own lines, resumed exactly; broken lines are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from splade_ptbr_connectors.errors import InputFileError
from tests.training.data.support import same_batch, travelled
from training.data import blocks, rows
from training.data.open import open_batches
from training.data.triplet_texts import TripletTextBatches
from training.recipe.sections import TripletTextsData

WORD = st.sampled_from(["água", "rio", "mar", "ônibus", "lei 8.112", "é"])


def opened(folder: Path, content: bytes | str, *, batch: int = 1, limit: int | None = None, seed: int = 0) -> TripletTextBatches:
    (folder / "triples.tsv").write_bytes(content.encode() if isinstance(content, str) else content)
    return TripletTextBatches(
        TripletTextsData(triples="triples.tsv", limit=limit), folder, folder / "cache", batch_queries=batch, seed=seed
    )


@given(lines=st.lists(st.tuples(WORD, WORD, WORD), min_size=1, max_size=20), data=st.data())
def test_an_epoch_is_every_line_without_a_positive_as_negative_and_every_positive_is_marked(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    positives = {(query, positive) for query, positive, _ in lines}
    expected = sorted(line for line in lines if (line[0], line[2]) not in positives)
    content = data.draw(st.sampled_from(["\n", "\r\n"])).join("\t".join(line) for line in lines) + data.draw(st.sampled_from(["", "\n"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", data.draw(st.integers(8, 100)))
        patch.setattr(rows, "_CHUNK", data.draw(st.integers(1, 9)))
        if not expected:
            with pytest.raises(InputFileError, match="no line is left"):
                opened(folder, content)
            return
        source = opened(folder, content, batch=data.draw(st.integers(1, len(expected))))
    seen = []
    for step in range(source.sizes["steps_per_epoch"]):
        batch = source.batch(step)
        for row, query in enumerate(batch.queries):
            assert batch.relevant[row].tolist() == [(query, text) in positives for text in batch.documents]
            seen.append((query, batch.documents[batch.positive[row]], batch.documents[int(np.flatnonzero(batch.own[row])[0])]))
    assert sorted(seen[: len(expected)]) == expected
    assert source.sizes["rows"] == len(expected) and source.sizes["left_out_rows"] == len(lines) - len(expected)


def test_a_resumed_run_gets_bit_identical_batches_from_any_process(tmp_path: Path) -> None:
    content = "".join(f"pergunta {n % 7}\tcerto {n}\terrado {n}\n" for n in range(30))
    used = opened(tmp_path, content, batch=8)
    batches = [used.batch(step) for step in range(12)]
    fresh, carried = opened(tmp_path, content, batch=8), travelled(used)
    assert all(same_batch(source.batch(step), batches[step]) for source in (fresh, carried) for step in (11, 0, 5))
    dispatched = open_batches(TripletTextsData(triples="triples.tsv"), tmp_path, tmp_path / "cache", batch_queries=8, seed=0)
    assert same_batch(dispatched.batch(3), batches[3]) and dispatched.sha256 == used.sha256


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a\tb", "2 columns instead of 3"),
        ("a\tb\tc\td", "4 columns instead of 3"),
        ("", "1 columns instead of 3"),
        ("\tb\tc", "the query is empty"),
        ("a\t \tc", "the document 0 is empty"),
        ("a\tb\t", "the document 1 is empty"),
        (b"a\tb\t\xe9", "not UTF-8"),
        ("a\tb\tc\0", "NUL"),
        ("a\tb\t" + "x" * 1_000_001, "1,000,001 characters"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: bytes | str, why: str) -> None:
    raw = line.encode() if isinstance(line, str) else line
    with pytest.raises(InputFileError, match=rf"triples.tsv, line 2: .*{why}"):
        opened(tmp_path, b"q\tp\tn\n" + raw + b"\nq\tp\tn\n")


def test_the_limit_is_a_number_of_lines(tmp_path: Path) -> None:
    content = "a\tb\tc\nd\te\tf\nbroken\n"
    assert opened(tmp_path, content, limit=2).sizes["rows"] == 2
    with pytest.raises(ValidationError, match=r"(?s)limit.*greater than 0"):
        opened(tmp_path, content, limit=-1)


def test_a_file_that_changes_under_a_run_is_an_error(tmp_path: Path) -> None:
    source = opened(tmp_path, "a\tb\tc\nd\te\tf\n", batch=2)
    (tmp_path / "triples.tsv").write_text("abcdefgh\t\n\tijk", encoding="utf-8")
    with pytest.raises(InputFileError, match="was changed while it was in use"):
        source.batch(0)
