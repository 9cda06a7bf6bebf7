"""Texts by id: what a dictionary of the file would answer, without holding the file."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import InputFileError
from tests.training.data.support import travelled
from training.data import blocks, texts
from training.data.texts import TextStore

TEXTS = st.text(st.characters(blacklist_characters="\t\n\r\0", blacklist_categories=("Cs",)), max_size=30)
FRESH = itertools.count()
NUMBERS = st.integers(0, 2**40).map(str)
NAMES = st.text(st.characters(blacklist_characters="\t\n\r\0", blacklist_categories=("Cs", "Z", "Cc")), min_size=1, max_size=20)


def store_of(folder: Path, content: bytes | str, name: str = "texts.tsv") -> TextStore:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return TextStore.open(folder / name, folder / "cache")


@pytest.mark.parametrize("ids", [NUMBERS, NAMES], ids=["numbers", "names"])
@pytest.mark.parametrize("form", ["tsv", "crlf", "jsonl"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data(), block=st.integers(4, 300))
def test_a_store_answers_as_a_dictionary_does(
    tmp_path: Path, ids: st.SearchStrategy[str], form: str, data: st.DataObject, block: int
) -> None:
    held = data.draw(
        st.dictionaries(ids.filter(lambda name: name.strip() == name and len(name.encode()) < 200), TEXTS, min_size=1, max_size=30)
    )
    if form == "jsonl":
        content = "".join(json.dumps({"_id": key, "text": text}) + "\n\n" for key, text in held.items())
        held = {key: text.strip() for key, text in held.items()}
    else:
        content = "".join(f"{key}\t{text}" + ("\r\n" if form == "crlf" else "\n") for key, text in held.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", block)
        patch.setattr(texts, "_CHUNK", 7)
        store = store_of(tmp_path, content, f"{next(FRESH)}.{'jsonl' if form == 'jsonl' else 'tsv'}")
    order = list(held)
    data.draw(st.randoms(use_true_random=False)).shuffle(order)
    assert [store.get(key) for key in order] == [held[key] for key in order]
    assert [store.id(row) for row in range(len(store))] == list(held)
    assert store.rows(order).tolist() == [list(held).index(key) for key in order]
    assert [list(held)[row] for row in store.empty_rows] == [key for key, text in held.items() if not text.strip()]
    assert store.whole_number_ids == all(key.isascii() and key.isdigit() and str(int(key)) == key and len(key) < 19 for key in held)
    for absent in ("", "-1", "01", "nada a ver", "9" * 30, "x" * 400):
        assert (absent in store) == (absent in held)


@pytest.mark.parametrize("ids", [list(range(1000)), list(range(5000, 0, -3)), [0, 10**9, 5], [10**12, 3, 10**17]])
def test_looking_up_many_numbers_at_once_is_looking_up_each(tmp_path: Path, ids: list[int]) -> None:
    store = store_of(tmp_path, "".join(f"{n}\ttexto {n}\n" for n in ids))
    asked = np.array([*ids[::-1], -1, 4, 10**18, max(ids) + 1, 2**31], dtype=np.int64)
    expected = [ids.index(n) if n in ids else -1 for n in asked.tolist()]
    assert store.row_finder()(asked).tolist() == expected
    assert store.rows(asked).tolist() == expected
    assert store.rows([str(n) for n in asked.tolist()]).tolist() == expected
    assert store._ids.dtype == (np.int32 if max(ids) < 2**31 else np.int64)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_no_line_end_is_left_in_a_text(tmp_path: Path, end: str) -> None:
    store = store_of(tmp_path, f"1\tum\r\n2\tdois \x0b\u2028três{end}")
    assert [store.get(1), store.get(2)] == ["um", "dois \x0b\u2028três"]


def test_a_byte_order_mark_is_no_part_of_the_first_id(tmp_path: Path) -> None:
    store = store_of(tmp_path, b"\xef\xbb\xbf7\tsete\n8\toito\n")
    assert store.whole_number_ids and store.get("7") == "sete" and store.get(8) == "oito"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("1\tum\n2\tdois\tperdido\n", "line 2: 3 columns instead of 2"),
        ("1\tum\n2 dois\n", "line 2: 1 columns instead of 2"),
        ("1\tum\n\n3\ttrês\n", "line 2: 1 columns instead of 2"),
        ("1\tum\tdois\n3\n", "line 1: 3 columns instead of 2"),
        ("1\tum\n\tdois\n", "line 2: the id is empty"),
        ("1\tum\n2\tdois\n1\toutro\n", "line 3: the id '1' was already in line 1"),
        ("b\tum\na\tdois\nb\toutro\na\toutro\n", "line 3: the id 'b' was already in line 1"),
        (b"1\tum\n2\tn\xe3o\n", "line 2: not UTF-8 .byte 0xE3"),
        ("1\tum\n2\td\0is\n", "line 2: a NUL character"),
        ("a\tum\n b\tdois\n", "line 2: id ' b'"),
        ("a\tum\n" + "b" * 300 + "\tdois\n", "line 2: id 'bbb"),
        ("", "is empty"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, content: bytes | str, why: str) -> None:
    with pytest.raises(InputFileError, match=why):
        store_of(tmp_path, content)
    assert not [path for path in (tmp_path / "cache").glob("*") if path.is_dir()]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"_id": "a", "text": "um"}\n{"_id": "b"\n', "line 2: "),
        ('{"_id": "a", "text": "um"}\n\n["b"]\n', "line 3: expected an object"),
        ('{"_id": "a"}\n', 'line 1: expected "_id"'),
        ('{"_id": true, "text": "um"}\n', 'line 1: expected "_id"'),
        ('{"_id": "a", "text": "um", "title": 3}\n', 'line 1: expected "_id"'),
        ('{"_id": "", "text": "um"}\n', "line 1: id ''"),
        ('{"_id": "a\\u0000", "text": "um"}\n', "line 1: id"),
        ('{"_id": "a", "text": "x\\u0000"}\n', "line 1: .*NUL"),
        ('{"_id": "a", "text": "\\ud800"}\n', "line 1: .*surrogate"),
        ('{"_id": "\\ud800", "text": "a"}\n', "line 1: .*surrogate"),
        ('\n{"_id": "a", "text": "um"}\n\n{"_id": "a", "text": "um"}\n', "line 4: the id 'a' was already in line 2"),
        ("\n \n", "every line is blank"),
    ],
)
def test_a_broken_jsonl_file_is_refused_with_its_line(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(InputFileError, match=why):
        store_of(tmp_path, content, "corpus.jsonl")


def test_a_text_longer_than_can_be_encoded_is_refused_and_the_longest_that_can_is_not(tmp_path: Path) -> None:
    assert len(store_of(tmp_path, "1\t" + "é" * 1_000_000 + "\n").get(1)) == 1_000_000
    with pytest.raises(InputFileError, match=r"line 2: .*1,000,001 characters"):
        store_of(tmp_path, "1\tum\n2\t" + "é" * 1_000_001 + "\n")


def test_title_and_text_of_a_beir_line_are_one_text(tmp_path: Path) -> None:
    lines = [{"_id": "1", "title": "Título", "text": "corpo"}, {"_id": 2, "title": "", "text": "só"}, {"_id": "3", "text": " "}]
    store = store_of(tmp_path, "\n".join(map(json.dumps, lines)), "corpus.jsonl")
    assert [store.get(n) for n in (1, 2, 3)] == ["Título corpo", "só", ""]
    assert store.empty_rows.tolist() == [2] and store.empty([0, 2, 1]) == [1]


def test_an_id_that_is_not_there_is_an_error_with_the_file(tmp_path: Path) -> None:
    store = store_of(tmp_path, "1\tum\n")
    with pytest.raises(InputFileError, match=r"texts.tsv has no text with the id '2'"):
        store.get(2)
    with pytest.raises(IndexError):
        store.text(1)


def test_compressed_and_missing_files_are_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="gunzip"):
        store_of(tmp_path, gzip.compress(b"1\tum\n"), "texts.tsv.gz")
    with pytest.raises(InputFileError, match="no such file"):
        TextStore.open(tmp_path / "nothing.tsv", tmp_path / "cache")


def test_a_changed_file_is_indexed_again(tmp_path: Path) -> None:
    first = store_of(tmp_path, "1\tum\n2\tdois\n").sha256
    second = store_of(tmp_path, "9\tum\n10\tdois\n")
    assert second.get(10) == "dois" and second.sha256 != first
    os.utime(tmp_path / "texts.tsv", ns=(1, 1))
    assert TextStore.open(tmp_path / "texts.tsv", tmp_path / "cache").sha256 == second.sha256


def test_a_file_that_changes_under_an_open_store_is_an_error_and_no_wrong_text(tmp_path: Path) -> None:
    store = store_of(tmp_path, "1\tum\n2\tdois\n3\ttrês\n")
    (tmp_path / "texts.tsv").write_bytes("1\tum e meio\n2\tdois\n3\ttrês\n".encode())
    with pytest.raises(InputFileError, match="was changed while it was in use"):
        store.get(2)


def test_a_store_travels_to_another_process_by_name(tmp_path: Path) -> None:
    store = store_of(tmp_path, "".join(f"d{n}\ttexto número {n}\n" for n in range(20_000)))
    carried = pickle.dumps(store)
    assert len(carried) < 1500 and travelled(store).get("d777") == "texto número 777"
