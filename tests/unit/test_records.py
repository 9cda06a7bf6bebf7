"""Record: what is accepted, what is refused and how the content is told apart."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import InputError, RecordError, TextError
from splade_ptbr_connectors.records import Record

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
RESERVED = ("_id", "id", "doc_id", "title", "text")


names = texts.filter(lambda name: name not in RESERVED)


@given(texts.filter(str.strip), texts, texts.filter(str.strip), st.dictionaries(names, values, max_size=4))
def test_a_record_keeps_everything(doc_id: str, title: str, text: str, fields: dict[str, Any]) -> None:
    record = Record.from_mapping({"_id": doc_id, "title": title, "text": text, **fields})
    assert (record.doc_id, record.title, record.text, record.fields) == (doc_id, title, text, fields)
    assert record.payload == {"title": title, "text": text, **fields}
    again = Record.from_mapping(json.loads(json.dumps({**fields, "text": text, "_id": doc_id, "title": title})))
    assert again.content_hash == record.content_hash


@pytest.mark.parametrize("changed", [{"_id": "b"}, {"title": "x"}, {"text": "u"}, {"metadata": {"year": 2001}}, {"more": None}])
def test_every_change_changes_the_hash(changed: dict[str, Any]) -> None:
    raw = {"_id": "a", "title": "t", "text": "u v", "metadata": {"year": 2000}}
    assert Record.from_mapping(raw).content_hash != Record.from_mapping(raw | changed).content_hash


@pytest.mark.parametrize("name", ["_id", "id", "doc_id"])
def test_ids_have_three_names(name: str) -> None:
    record = Record.from_mapping({name: 17, "text": "x"})
    assert record.doc_id == "17"
    assert record.fields == {}


def test_the_first_name_wins_and_the_others_are_fields() -> None:
    record = Record.from_mapping({"id": 3, "_id": "a", "text": "x"})
    assert (record.doc_id, record.fields) == ("a", {"id": 3})


def test_content_joins_title_and_text() -> None:
    assert Record.from_mapping({"_id": "a", "title": "T", "text": "x"}).content == "T x"
    assert Record.from_mapping({"_id": "a", "title": None, "text": "x"}).content == "x"
    assert Record.from_mapping({"_id": "a", "title": "T", "text": ""}).content == "T "


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "got NoneType"),
        ("text", "got str"),
        ([1], "got list"),
        ({}, r'no "_id" in the record \(fields: none\)'),
        ({"text": "x"}, r'no "_id" in the record \(fields: text\)'),
        ({"_id": "", "text": "x"}, "blank"),
        ({"_id": None, "text": "x"}, "ids are strings"),
        ({"_id": 1.5, "text": "x"}, "ids are strings"),
        ({"_id": True, "text": "x"}, "ids are strings"),
        ({"_id": b"a", "text": "x"}, "ids are strings"),
        ({"_id": "é" * 257, "text": "x"}, "514 bytes: at most 512"),
        ({"_id": "a"}, "no \"text\" in the record 'a'"),
        ({"_id": "a", "text": None}, 'no "text"'),
        ({"_id": "a", "text": float("nan")}, "is float: it must be a string"),
        ({"_id": "a", "text": ["x"]}, "is list"),
        ({"_id": "a", "title": 3, "text": "x"}, '"title" of record'),
        ({"_id": "a", "title": " ", "text": "\t\n"}, "neither title nor text"),
        ({"_id": "a", "text": "x", 5: 1}, "field names are strings"),
        ({"_id": "a", "text": "x", "m": {5: 1}}, "field names are strings"),
        ({"_id": "a", "text": "x", "m": float("inf")}, "JSON has no such number"),
        ({"_id": "a", "text": "x", "m": datetime.date(2020, 1, 1)}, "holds a value of type date"),
        ({"_id": "a", "text": "x", "m": {1, 2}}, "holds a value of type set"),
        ({"_id": "a", "text": "x", "m": _nested(30)}, "more than 20 levels"),
    ],
)
def test_bad_records(raw: Any, message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        Record.from_mapping(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"_id": "a", "text": "x\ud800"}, r"lone surrogate U\+D800 at position 1"),
        ({"_id": "a", "text": "x\0"}, "NUL character at position 1"),
        ({"_id": "a", "text": "x" * 10_000_000}, "10,000,000 characters: at most 1,000,000"),
        ({"_id": "\udfff", "text": "x"}, "document id"),
        ({"_id": "a", "text": "x", "m": ["\ud800"]}, "a field of record 'a'"),
        ({"_id": "a", "text": "x", "m": "ã\ud800"}, r"a field of record 'a' has the lone surrogate U\+D800 at position 1"),
        ({"_id": "a", "text": "x", "m": {"n": "ã\0"}}, "a field of record 'a' has a NUL character at position 1"),
        ({"_id": "a", "text": "x", "m": "x" * 1_000_001}, "a field of record 'a' has 1,000,001 characters"),
        ({"_id": "a", "text": "x", "\ud800": 1}, "a field name of record 'a'"),
    ],
)
def test_bad_texts(raw: Any, message: str) -> None:
    with pytest.raises(TextError, match=message):
        Record.from_mapping(raw)


@given(values)
def test_anything_is_a_record_or_an_input_error(raw: Any) -> None:
    try:
        Record.from_mapping(raw)
    except InputError as error:
        assert str(error).endswith(".")
