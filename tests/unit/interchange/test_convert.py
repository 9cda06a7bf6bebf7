"""Conversions: manifests, factors and models that fit or do not, pruning on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, InputError, InputFileError, ModelMismatchError, SpladeConnectorsError
from splade_ptbr_connectors.interchange.convert import BATCH, Conversion, passages_as_documents, pruned
from splade_ptbr_connectors.interchange.formats import FORMATS, format_of
from splade_ptbr_connectors.interchange.manifest import manifest_path
from splade_ptbr_connectors.interchange.vector_encoding import VectorEncoding
from splade_ptbr_connectors.pruning import parse_pruning
from splade_ptbr_connectors.records import EncodedRecord
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

from .collections import QUANTISED, TARGET, Awkward

MODEL = Awkward()
VECTORS = {"um": {1: 0.5, 3: 2.0, 4: 0.001}, "dois": {3: 9.0, 5: 0.25}}
FOREIGN = [name for name in FORMATS if name != "jsonl"]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.jsonl"
    lines = [{"_id": doc_id, "text": f"texto {doc_id}", "vector": vector} for doc_id, vector in VECTORS.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def conversion(source: Path, source_format: str, target: Path, target_format: str, **more: Any) -> Conversion:
    return Conversion(source, FORMATS[source_format], target, FORMATS[target_format], **more)


def vectors(path: Path) -> dict[str, dict[int, float]]:
    return {one.doc_id: one.vector.to_dict() for one in FORMATS["jsonl"].read(path, VectorEncoding())}


@pytest.mark.parametrize("encoder", [None, MODEL], ids=["ids", "tokens"])
@pytest.mark.parametrize("format", FOREIGN)
def test_there_and_back_with_nothing_but_the_manifest(format: str, encoder: Awkward | None, source: Path, tmp_path: Path) -> None:
    middle, back = tmp_path / TARGET[format], tmp_path / "back.jsonl"
    report = conversion(source, "jsonl", middle, format, encoder=encoder, quantisation=40).run()
    conversion(middle, format, back, "jsonl", encoder=encoder).run()
    quantised = format in QUANTISED
    kept = {doc_id: {term: w for term, w in one.items() if not quantised or w > 0.01} for doc_id, one in VECTORS.items()}
    assert vectors(back) == {doc_id: pytest.approx(one, rel=1e-6) for doc_id, one in kept.items()}
    manifest = json.loads(manifest_path(middle).read_text())
    assert (manifest["format"], manifest["quantisation"], manifest["pruning"]) == (format, 40 if quantised else None, "none")
    assert manifest["terms"] == ("tokens" if encoder and FORMATS[format].named else "ids")
    assert manifest["fingerprint"] == (encoder.fingerprint if encoder else None)
    assert (manifest["documents"], manifest["postings"], manifest["dropped"]) == (2, 5 - quantised, int(quantised))
    assert report.manifest.documents == 2 and not manifest_path(back).exists()
    lines = [json.loads(line) for line in back.read_text().splitlines()]
    assert {line.get("fingerprint") for line in lines} == {manifest["fingerprint"]}
    if format in ("anserini", "seismic"):
        assert [line["text"] for line in lines] == ["texto um", "texto dois"]


@pytest.mark.parametrize("format", QUANTISED)
def test_without_a_manifest_the_factor_must_be_said(format: str, source: Path, tmp_path: Path) -> None:
    middle, back = tmp_path / TARGET[format], tmp_path / "back.jsonl"
    conversion(source, "jsonl", middle, format).run()
    with pytest.raises(ConfigError, match="multiplied by 100, not by 50"):
        conversion(middle, format, back, "jsonl", source_quantisation=50).run()
    manifest_path(middle).unlink()
    with pytest.raises(ConfigError, match=r"no manifest.*give the factor by which"):
        conversion(middle, format, back, "jsonl").run()
    conversion(middle, format, back, "jsonl", source_quantisation=200).run()
    assert vectors(back)["dois"] == {3: 4.5, 5: 0.125}


def test_from_one_foreign_format_to_all_others_with_another_factor(source: Path, tmp_path: Path) -> None:
    conversion(source, "jsonl", tmp_path / "a.ciff", "ciff", encoder=MODEL, quantisation=1000).run()
    for format in FOREIGN:
        middle, back = tmp_path / f"b{TARGET[format]}", tmp_path / "back.jsonl"
        conversion(tmp_path / "a.ciff", "ciff", middle, format, encoder=MODEL, terms="ids").run()
        conversion(middle, format, back, "jsonl").run()
        assert vectors(back)["dois"] == {3: 9.0, 5: 0.25}


def test_models_that_do_not_fit(source: Path, tmp_path: Path) -> None:
    target, back = tmp_path / "a.ciff", tmp_path / "back.jsonl"
    conversion(source, "jsonl", target, "ciff", encoder=MODEL).run()
    with pytest.raises(ConfigError, match="name the model"):
        conversion(target, "ciff", back, "jsonl").run()
    with pytest.raises(ModelMismatchError, match=MODEL.fingerprint[:12]):
        conversion(target, "ciff", back, "jsonl", encoder=Awkward(["a"])).run()
    with pytest.raises(ConfigError, match="called by their tokens: leave"):
        conversion(target, "ciff", back, "jsonl", encoder=MODEL, source_terms="ids").run()
    with pytest.raises(InputError, match=r"'um'.*outside the vocabulary of 1"):
        conversion(source, "jsonl", target, "ciff", encoder=Awkward(["a"])).run()
    with pytest.raises(ConfigError, match="must be ids or tokens"):
        conversion(source, "jsonl", target, "ciff", terms="names").run()


def test_lines_of_two_models(source: Path, tmp_path: Path) -> None:
    line = json.dumps({"_id": "x", "vector": {"1": 1.0}, "fingerprint": "f" * 64})
    source.write_text(f"{line}\n{line.replace('f' * 64, 'e' * 64)}\n")
    with pytest.raises(ModelMismatchError, match="line 2"):
        conversion(source, "jsonl", tmp_path / "a.ciff", "ciff").run()
    with pytest.raises(ModelMismatchError, match="f" * 12):
        conversion(source, "jsonl", tmp_path / "a.ciff", "ciff", encoder=MODEL).run()
    assert [file.name for file in tmp_path.iterdir()] == ["source.jsonl"]


@pytest.mark.parametrize("format", FOREIGN)
def test_with_its_manifest_a_file_cut_off_anywhere_is_refused(format: str, source: Path, tmp_path: Path) -> None:
    middle = tmp_path / TARGET[format]
    conversion(source, "jsonl", middle, format, quantisation=1).run()
    whole = middle.read_bytes()
    for size in range(len(whole)):
        middle.write_bytes(whole[:size])
        with pytest.raises(InputFileError, match="cut off"):
            conversion(middle, format, tmp_path / "back.jsonl", "jsonl").run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantisation": 0}, "quantisation is 0, it must be greater than or equal to 1"),
        ({"quantisation": "100"}, "quantisation is '100', it must be a valid integer"),
        ({"quantisation": True}, "quantisation is True, it must be a valid integer"),
        ({"terms": "words"}, "terms is 'words', it must be 'ids' or 'tokens'"),
        ({"format": "pisa"}, "in the format pisa"),
        ({"bytes": 7}, "of a file of 7 bytes"),
        ({"documents": -1}, "documents is -1, it must be greater than or equal to 0"),
        ({"fingerprint": 3}, "fingerprint is 3"),
        ({"pruning": None}, "pruning is None"),
    ],
)
def test_manifests_that_say_something_else(change: dict[str, Any], message: str, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.ciff"
    conversion(source, "jsonl", target, "ciff").run()
    manifest = json.loads(manifest_path(target).read_text())
    manifest_path(target).write_text(json.dumps({**manifest, "of a later version": 1}))
    conversion(target, "ciff", tmp_path / "back.jsonl", "jsonl").run()
    manifest_path(target).write_text(json.dumps({**manifest, **change}))
    with pytest.raises(InputFileError, match=message):
        conversion(target, "ciff", tmp_path / "back.jsonl", "jsonl").run()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": "ciff"}', "\xff"])
def test_what_is_no_manifest(text: str, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.ciff"
    conversion(source, "jsonl", target, "ciff").run()
    manifest_path(target).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputFileError, match="is not a manifest"):
        conversion(target, "ciff", tmp_path / "back.jsonl", "jsonl").run()


@pytest.mark.parametrize("field", ["quantisation", "documents_per_file"])
@pytest.mark.parametrize("value", [0, -1, 2**31, 1.5, True, "100"])
def test_numbers_that_are_no_factor_or_size(field: str, value: object, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{field} is"):
        conversion(source, "jsonl", tmp_path / "a.ciff", "ciff", **{field: value}).run()


rules = st.sampled_from(["top_k=1", "top_k=2", "threshold=0.5", "quantile=0.5", "top_k=2,quantile=0.4", "none"])
rows = st.lists(st.dictionaries(st.integers(0, 5), st.sampled_from([0.25, 0.5, 1.0, 2.0]), max_size=5), max_size=9)


@given(rows=rows, rule=rules)
def test_pruning_of_a_stream_is_that_of_the_collection(rows: list[dict[int, float]], rule: str) -> None:
    records = [EncodedRecord(str(n), SparseVector.from_dict(row), {"n": n}, (1.0,)) for n, row in enumerate(rows)]
    whole = parse_pruning(rule).apply(SparseBatch.from_vectors(one.vector for one in records))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("splade_ptbr_connectors.interchange.convert.BATCH", 2)
        found = list(pruned(iter(records), parse_pruning(rule)))
    assert found == [replace(one, vector=vector) for one, vector in zip(records, whole, strict=True)]


def test_a_stream_is_pruned_batch_by_batch() -> None:
    taken = []

    def endless() -> Any:
        while True:
            taken.append(1)
            yield EncodedRecord("1", SparseVector([1, 2], [1.0, 2.0]))

    assert next(pruned(endless(), parse_pruning("top_k=1"))).vector == SparseVector([2], [2.0])
    assert len(taken) == BATCH


def test_pruned_on_the_way_and_said_so(source: Path, tmp_path: Path) -> None:
    report = conversion(source, "jsonl", tmp_path / "p.jsonl", "jsonl", pruning=parse_pruning("threshold=0.5,top_k=1")).run()
    assert vectors(tmp_path / "p.jsonl") == {"um": {3: 2.0}, "dois": {3: 9.0}}
    assert (report.manifest.pruning, report.manifest.postings, report.empty) == ("threshold=0.5,top_k=1", 2, 0)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.ciff", "ciff"),
        ("a.ciff.gz", "ciff"),
        ("a.docs", "pisa"),
        ("q.tsv", "anserini-queries"),
        ("q.tsv.gz", "anserini-queries"),
        ("a.bin", "seismic-bin"),
    ],
)
def test_names_that_say_their_format(name: str, format: str) -> None:
    assert format_of(Path(name), None, "--from").name == format
    assert format_of(Path(name), "jsonl", "--from").name == "jsonl"


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "folder", "a.gz", ".ciff"])
def test_names_that_several_formats_share(name: str) -> None:
    with pytest.raises(ConfigError, match=r"give --from, one of jsonl, anserini"):
        format_of(Path(name), None, "--from")


def test_a_format_that_there_is_not() -> None:
    with pytest.raises(SpladeConnectorsError, match="'xml'"):
        format_of(Path("a.ciff"), "xml", "--from")


def test_formats_without_passages_get_a_document_for_each(tmp_path: Path) -> None:
    """`doc_id#number`, as collections of passages are named elsewhere; jsonl keeps a document as one."""
    spans = [{"start": 0, "end": 3, "vector": {"1": 0.5}}, {"start": 3, "end": 6, "vector": {"2": 0.25, "3": 1.0}}]
    lines = [{"_id": "lei", "text": "abcdef", "passages": spans}, {"_id": "nota", "text": "x", "vector": {"4": 1.0}}]
    source = tmp_path / "vectors.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    jsonl, anserini = FORMATS["jsonl"], FORMATS["anserini"]
    report = Conversion(source, jsonl, tmp_path / "anserini.jsonl", anserini).run()
    rows = [json.loads(line) for line in (tmp_path / "anserini.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["lei#0", "lei#1", "nota"] and report.manifest.documents == 3
    assert rows[1]["vector"] == {"2": 25, "3": 100}
    Conversion(source, jsonl, tmp_path / "again.jsonl", jsonl).run()
    assert [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()] == lines


SEVERAL = [{"start": n, "end": n + 1, "vector": {"1": 0.5}} for n in range(2)]


@pytest.mark.parametrize("format", FOREIGN)
@pytest.mark.parametrize("turned", [False, True])
def test_a_document_that_is_called_as_a_passage_of_another(format: str, turned: bool, tmp_path: Path) -> None:
    lines = [{"_id": "lei", "text": "ab", "passages": SEVERAL}, {"_id": "lei#1", "text": "c", "vector": {"1": 1.0}}]
    source, target = tmp_path / "vectors.jsonl", tmp_path / f"out{TARGET[format]}"
    source.write_text("".join(json.dumps(line) + "\n" for line in (reversed(lines) if turned else lines)))
    with pytest.raises(InputError, match=r"'lei#1' is called as passage 1 of the document 'lei'"):
        conversion(source, "jsonl", target, format).run()
    assert [path.name for path in tmp_path.iterdir()] == [source.name]
    conversion(source, "jsonl", tmp_path / "same.jsonl", "jsonl").run()


names = st.lists(
    st.tuples(st.from_regex(r"a(#(0|1|2|01|x|)){0,3}", fullmatch=True), st.sampled_from([1, 2, 3])), unique_by=lambda one: one[0]
)


@given(names)
def test_names_of_passages_are_refused_just_where_they_collide(documents: list[tuple[str, int]]) -> None:
    vector = SparseVector([1], [1.0])
    records = [EncodedRecord(name, vector, passages=((0, 1, vector),) * count if count > 1 else ()) for name, count in documents]
    written = [made for name, count in documents for made in ([f"{name}#{n}" for n in range(count)] if count > 1 else [name])]
    if len(set(written)) < len(written):
        with pytest.raises(InputError, match="rename one of them"):
            list(passages_as_documents(records))
    else:
        assert [record.doc_id for record in passages_as_documents(records)] == written


def test_a_passage_whose_id_would_be_too_long_to_be_read_again(tmp_path: Path) -> None:
    spans = [{"start": n, "end": n + 1, "vector": {"1": 0.5}} for n in range(2)]
    source = tmp_path / "vectors.jsonl"
    source.write_text(json.dumps({"_id": "b" * 511, "text": "abc", "passages": spans}))
    with pytest.raises(InputError, match="has 513 bytes"):
        Conversion(source, FORMATS["jsonl"], tmp_path / "anserini.jsonl", FORMATS["anserini"]).run()
    assert not (tmp_path / "anserini.jsonl").exists()
