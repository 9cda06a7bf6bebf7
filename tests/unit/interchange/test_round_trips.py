"""Every format: what is written is read back, with the loss that quantisation states and no other."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import InputError, InputFileError, VectorError
from splade_ptbr_connectors.interchange.formats import FORMATS
from splade_ptbr_connectors.interchange.vector_encoding import MAX_IMPACT, Tokens, VectorEncoding, WriteCounts, shortest
from splade_ptbr_connectors.records import EncodedRecord
from splade_ptbr_connectors.vectors import SparseVector

from .collections import EXACT, QUANTISED, TARGET, Awkward, collections, quantised, restored, terms_of, vectors, write_and_read


@pytest.mark.parametrize("label", ["ids", "tokens"])
@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_back(format: str, label: str) -> None:
    @settings(max_examples=15)
    @given(records=collections(format))
    def check(records: list[EncodedRecord]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            found = write_and_read(format, Path(folder), records, VectorEncoding(terms_of(label)))
        assert [one.doc_id for one in found] == [one.doc_id for one in records]
        assert [one.vector for one in found] == [restored(one.vector) if format in QUANTISED else one.vector for one in records]

    check()


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in ("pisa", "seismic-bin")])
def test_compressed_by_name(format: str, tmp_path: Path) -> None:
    records = [EncodedRecord("1", SparseVector([1, 2], [0.5, 0.25]))]
    target = tmp_path / f"{TARGET[format]}.gz"
    FORMATS[format].write(target, records, VectorEncoding())
    assert target.read_bytes()[:2] == b"\x1f\x8b"
    assert list(FORMATS[format].read(target, VectorEncoding())) == records


@given(vector=vectors, factor=st.integers(1, 5000))
def test_quantisation_is_off_by_half_a_step_at_most(vector: SparseVector, factor: int) -> None:
    encoding = VectorEncoding(quantisation=factor)
    term_ids, impacts = encoding.quantise(vector)
    assert dict(zip(term_ids.tolist(), impacts.tolist(), strict=True)) == quantised(vector, factor)
    found, weights = encoding.restore(term_ids, impacts).to_dict(), vector.to_dict()
    for term, weight in weights.items():
        assert abs(found.get(term, 0.0) - weight) <= 0.5 / factor + 1e-6 * weight
    counts = WriteCounts()
    list(encoding.quantised([EncodedRecord("1", vector)], counts))
    assert (counts.documents, counts.postings, counts.dropped) == (1, len(found), len(weights) - len(found))
    assert counts.empty == (not found)


@given(vector=vectors, factor=st.integers(1, 5000))
def test_quantising_again_changes_nothing(vector: SparseVector, factor: int) -> None:
    encoding = VectorEncoding(quantisation=factor)
    once = encoding.quantise(vector)
    again = encoding.quantise(encoding.restore(*once))
    assert [part.tolist() for part in once] == [part.tolist() for part in again]


@given(weights=st.lists(st.floats(1.1754943508222875e-38, width=32, allow_infinity=False) | st.floats(0.0078125, 9, width=32), max_size=30))
def test_numbers_have_no_more_digits_than_they_need(weights: list[float]) -> None:
    vector = SparseVector(list(range(len(weights))), weights)
    found = shortest(vector)
    assert np.array_equal(np.array(found, np.float32), vector.weights)
    assert list(map(repr, found)) == [repr(float(str(weight))) for weight in vector.weights]


def test_an_impact_that_no_index_holds_is_refused(tmp_path: Path) -> None:
    heavy = [EncodedRecord("um", SparseVector([1], [1.0])), EncodedRecord("dois", SparseVector([1], [30_000_000.0]))]
    for format in QUANTISED:
        with pytest.raises(VectorError, match=r"'dois'.*3e\+07 times 100.*smaller quantisation"):
            FORMATS[format].write(tmp_path / TARGET[format], heavy, VectorEncoding())
    long = [EncodedRecord("1", SparseVector([1, 2], [float(MAX_IMPACT // 2 + 1)] * 2))]
    for format in ("ciff", "pisa"):
        with pytest.raises(VectorError, match="add up to"):
            FORMATS[format].write(tmp_path / TARGET[format], long, VectorEncoding(quantisation=1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(format: str, tmp_path: Path) -> None:
    records = [EncodedRecord("1", SparseVector([1], [1.0]))]
    FORMATS[format].write(tmp_path / TARGET[format], records, VectorEncoding())
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def failing() -> object:
        yield EncodedRecord("2", SparseVector([2], [2.0]))
        raise InputFileError("the source broke off")

    with pytest.raises(InputFileError, match="broke off"):
        FORMATS[format].write(tmp_path / TARGET[format], failing(), VectorEncoding())  # type: ignore[arg-type]
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("format", FORMATS)
def test_where_nothing_can_be_written(format: str, tmp_path: Path) -> None:
    records = [EncodedRecord("1", SparseVector([1], [1.0]))]
    (tmp_path / TARGET[format]).mkdir()
    with pytest.raises(InputFileError, match="regular file"):
        FORMATS[format].write(tmp_path / TARGET[format], records, VectorEncoding())
    with pytest.raises(InputFileError, match="missing"):
        FORMATS[format].write(tmp_path / "missing" / TARGET[format], records, VectorEncoding())


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_is_not_there_or_empty(format: str, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"[Nn]o such file"):
        list(FORMATS[format].read(tmp_path / TARGET[format], VectorEncoding()))
    for name in ("docs", "freqs", "sizes", "terms", "documents"):
        (tmp_path / f"x.{name}").touch()
    (tmp_path / TARGET[format]).touch()
    with pytest.raises(InputFileError, match=r"empty|ends|holds no"):
        list(FORMATS[format].read(tmp_path / TARGET[format], VectorEncoding()))


UNFIT_IDS = {
    "anserini-queries": ["a b", "a\tb", "a\u2028", "\ufeffa"],
    "pisa": ["a\nb", "a\r", "\ufeffa"],
    "seismic-bin": ["a\nb", "a\r", "\ufeffa"],
}


@pytest.mark.parametrize(("format", "doc_id"), [(format, doc_id) for format, ids in UNFIT_IDS.items() for doc_id in ids])
def test_ids_that_a_format_cannot_hold(format: str, doc_id: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written") as error:
        FORMATS[format].write(tmp_path / TARGET[format], [EncodedRecord(doc_id, SparseVector([1], [1.0]))], VectorEncoding())
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["anserini", "anserini-queries", "pisa"])
@pytest.mark.parametrize("token", ["a\nb", "\u2028", ""])
def test_tokens_that_a_format_cannot_hold(format: str, token: str, tmp_path: Path) -> None:
    encoding = VectorEncoding(Tokens(Awkward(["a", token])))
    with pytest.raises(InputError, match="cannot be written"):
        FORMATS[format].write(tmp_path / TARGET[format], [EncodedRecord("1", SparseVector([0, 1], [1.0, 1.0]))], encoding)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", [name for name, one in FORMATS.items() if one.named])
def test_terms_without_a_name_of_their_own(format: str, tmp_path: Path) -> None:
    target = tmp_path / TARGET[format]
    twice = VectorEncoding(Tokens(Awkward(["a", "b", "a"])))
    FORMATS[format].write(target, [EncodedRecord("1", SparseVector([1], [1.0]))], twice)  # the others are not concerned
    with pytest.raises(InputError, match="several terms"):
        FORMATS[format].write(target, [EncodedRecord("1", SparseVector([2], [1.0]))], twice)
    with pytest.raises(InputError, match="outside the vocabulary of 3"):
        FORMATS[format].write(target, [EncodedRecord("1", SparseVector([3], [1.0]))], twice)
    with pytest.raises(InputFileError, match=r"'b' is not a term id"):
        list(FORMATS[format].read(target, VectorEncoding()))
    with pytest.raises(InputFileError, match=r"'b' is not a token"):
        list(FORMATS[format].read(target, VectorEncoding(Tokens(Awkward(["x"])))))


@pytest.mark.parametrize("format", EXACT)
def test_formats_with_weights_keep_them_bit_by_bit(format: str, tmp_path: Path) -> None:
    exact = [EncodedRecord("1", SparseVector([0, 1, 2], [1 / 3, 1.1754944e-38, 3.4028235e38]))]
    assert write_and_read(format, tmp_path, exact, VectorEncoding()) == exact


@pytest.mark.parametrize("format", ["ciff", "pisa"])
def test_an_index_holds_an_id_once(format: str, tmp_path: Path) -> None:
    twice = [EncodedRecord("1", SparseVector([1], [1.0]))] * 2
    with pytest.raises(InputError, match="duplicate id '1'"):
        FORMATS[format].write(tmp_path / TARGET[format], twice, VectorEncoding())
