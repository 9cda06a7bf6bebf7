"""Sources: formats, broken lines with their numbers, and files that cannot be used."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors import line_files
from splade_ptbr_connectors.errors import ConfigError, InputFileError
from splade_ptbr_connectors.sources import Broken, Row, open_source

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@given(records=st.lists(st.fixed_dictionaries({"_id": texts, "text": texts}), min_size=1, max_size=8), compressed=st.booleans())
def test_jsonl_comes_back(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, str]], compressed: bool) -> None:
    content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    path = tmp_path_factory.mktemp("jsonl") / ("records.jsonl.gz" if compressed else "records.jsonl")
    _write(path, gzip.compress(content) if compressed else content)
    source = open_source(path)
    for _ in range(2):  # a file can be read again
        assert list(source) == [Row(number, record) for number, record in enumerate(records, 1)]


@given(
    records=st.lists(st.tuples(texts, texts), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\r", "\r\r\n"]),
    extra=st.sampled_from(["", "a, b, c, d", "a; b; c", "a\tb\tc"]),
    before=st.sampled_from(["", "\n", " \n,,\n", ";;;\n", "\ufeff", "\ufeff\n"]),
)
def test_csv_comes_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str]], delimiter: str, end: str, extra: str, before: str
) -> None:
    buffer = io.StringIO(newline="")
    buffer.write(before.replace("\n", end))
    columns = ("id", "text", extra) if extra else ("id", "text")
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=end)
    writer.writerows([columns, *(record + ("x",) * bool(extra) for record in records)])
    path = _write(tmp_path_factory.mktemp("csv") / "records.csv", buffer.getvalue().encode())
    expected = [{"id": a, "text": b} | ({extra: "x"} if extra else {}) for a, b in records]
    assert [row.raw for row in open_source(path)] == expected


def test_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"_id":"1"}\r\n\r\n  \n{"_id":"2"}')
    assert list(open_source(path)) == [Row(1, {"_id": "1"}), Row(4, {"_id": "2"})]
    path = _write(tmp_path / "a.csv", b"\xef\xbb\xbfid,text\r\n1,a\r\n\r\n2,b\r\n")
    assert list(open_source(path)) == [Row(2, {"id": "1", "text": "a"}), Row(4, {"id": "2", "text": "b"})]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("a.jsonl", [b'{"_id":"1"}', b"", b'{"_id":"2"}'], [Row(1, {"_id": "1"}), Row(3, {"_id": "2"})]),
        ("a.csv", [b"", b"id,text", b"1,a", b"", b"2,b"], [Row(3, {"id": "1", "text": "a"}), Row(5, {"id": "2", "text": "b"})]),
        ("a.tsv", [b"", b"", b"id\ttext", b"1\ta"], [Row(4, {"id": "1", "text": "a"})]),
        ("a", [b"", b"id;text", b"1;a"], [Row(3, {"id": "1", "text": "a"})]),
    ],
)
def test_lines_may_end_in_any_way(tmp_path: Path, name: str, lines: list[bytes], expected: list[Row], packed: bool, end: bytes) -> None:
    for content in (end.join(lines), end.join(lines) + end, b"\xef\xbb\xbf" + end.join(lines)):
        assert list(open_source(_write(tmp_path / name, gzip.compress(content) if packed else content))) == expected


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_cr_in_a_line_of_another_ending_breaks_that_line_alone(tmp_path: Path, name: str) -> None:
    content = b"id\ttext\n1\tum\rdois\n2\tb\n"
    broken, row = open_source(_write(tmp_path / name, content))
    assert isinstance(broken, Broken) and broken.line == 2 and "CR" in broken.reason
    assert row == Row(3, {"id": "2", "text": "b"})


def test_broken_json_lines_are_numbered_and_reading_goes_on(tmp_path: Path) -> None:
    deep, large = b'{"a": ' + b"[" * 100_000, b'{"n": ' + b"1" * 5000 + b"}"
    content = b"\n".join([b'{"_id":"1"}', b'{"_id":', b'{"_id":"caf\xe9"}', deep, large, b'{"_id":"6"}'])
    rows = list(open_source(_write(tmp_path / "a.jsonl", content)))
    assert [row.line for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [type(row) for row in rows] == [Row, Broken, Broken, Broken, Broken, Row]
    assert rows[1] == Broken(2, "not JSON: Expecting value at column 8", '{"_id":')
    assert "byte 0xE9" in rows[2][1] and "iconv" in rows[2][1]
    assert all(len(row.text) <= 1000 for row in rows if isinstance(row, Broken))


def test_a_line_without_end_is_one_broken_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 100)
    path = _write(tmp_path / "a.jsonl", b'{"_id":"1"}\n{"_id":"' + b"x" * 1000 + b'"}\n{"_id":"3"}\n')
    rows = list(open_source(path))
    assert [row.line for row in rows] == [1, 2, 3]
    assert isinstance(rows[1], Broken) and "MiB" in rows[1].reason


@pytest.mark.parametrize("end", [b"\n", b"\r"])
@pytest.mark.parametrize("length", [-1, 0, 1, 2, 3, 4, 5, 99, 100, 101, 900])
@pytest.mark.parametrize(("name", "mark"), [("a.csv", b","), ("a.tsv", b"\t")])
def test_a_row_that_is_too_long_is_broken_and_never_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, mark: bytes, length: int, end: bytes
) -> None:
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 100)
    text = b"x" * (97 + length)  # with "2,", the end and nothing more, the line has 100 bytes and `length`
    path = _write(tmp_path / name, end.join([b"id" + mark + b"text", b"2" + mark + text, b"3" + mark + b"c", b""]))
    rows = list(open_source(path))
    assert [row.line for row in rows] == [2, 3]
    assert rows[1] == Row(3, {"id": "3", "text": "c"})
    assert rows[0] == Row(2, {"id": "2", "text": text.decode()}) if length <= 0 else "MiB" in rows[0][1]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_first_line_that_is_too_long_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: bytes) -> None:
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 100)
    for length in range(95, 110):
        line = b'{"_id":"' + b"x" * (length - 11) + b'"}\n'
        rows = list(open_source(_write(tmp_path / "a.jsonl", mark + line + b'{"_id":"2"}\n')))
        assert [(type(row), row.line) for row in rows] == [(Row if length <= 100 else Broken, 1), (Row, 2)]
    with pytest.raises(InputFileError, match=r"MiB.*header"):
        list(open_source(_write(tmp_path / "a.csv", mark + b"id,text," + b"x" * 200 + b"\n1,a,b\n")))


def test_ragged_rows_open_quotes_and_foreign_bytes(tmp_path: Path) -> None:
    lines = [b"_id,title,text", b"1,a,b", b"2,a", b"3,a,b,c", b'4,"a\nb",c', b"5,a,caf\xe9"]
    lines += [b'6,a"b,c', b'7,"a"b,c', b"8,a,b", b'9,"open', b"10,a,b"]
    rows = list(open_source(_write(tmp_path / "a.csv", b"\n".join(lines) + b"\n")))
    assert [row.line for row in rows] == [2, 3, 4, 5, 7, 8, 9, 10, 11]
    reasons = {row.line: row.reason for row in rows if isinstance(row, Broken)}
    assert reasons[3] == "2 cells, but the header has 3 columns"
    assert reasons[4] == "4 cells, but the header has 3 columns"
    assert "byte 0xE9" in reasons[7]
    assert "not CSV" in reasons[9] and "a quote that is not closed" in reasons[11]
    assert rows[3] == Row(5, {"_id": "4", "title": "a\nb", "text": "c"})
    assert rows[5] == Row(8, {"_id": "6", "title": 'a"b', "text": "c"})


def test_large_csv_cells(tmp_path: Path) -> None:
    text = "x" * 500_000
    [row] = open_source(_write(tmp_path / "a.csv", f"id,text\n1,{text}\n".encode()))
    assert isinstance(row, Row) and row.raw["text"] == text


def test_tsv_has_no_quoting(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tsv", b'id\ttext\n1\t"quoted" and, not; closed"\n')
    assert list(open_source(path)) == [Row(2, {"id": "1", "text": '"quoted" and, not; closed"'})]


@pytest.mark.parametrize(
    ("name", "content", "format"),
    [
        ("a.ndjson", b'{"_id":"1"}', "jsonl"),
        ("a.JSONL", b'{"_id":"1"}', "jsonl"),
        ("a.b.tsv", b"id\ttext\n", "tsv"),
        ("a.tab.gz", gzip.compress(b"id\ttext\n", mtime=0), "tsv"),
        ("corpus", b'\xef\xbb\xbf\n {"_id":"1"}', "jsonl"),
        ("corpus.txt", b"id\ttext, more\n", "tsv"),
        ("corpus.dat", b"id;text\n", "csv"),
        ("corpus.gz", gzip.compress(b'{"_id":"1"}', mtime=0), "jsonl"),
        ("compressed-without-saying.jsonl", gzip.compress(b'{"_id":"1"}', mtime=0), "jsonl"),
    ],
)
def test_the_name_decides_then_the_content(tmp_path: Path, name: str, content: bytes, format: str) -> None:
    assert open_source(_write(tmp_path / name, content)).format == format


def test_format_can_be_given(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt", b'{"_id":"1"}\n')
    assert list(open_source(path, format="jsonl")) == [Row(1, {"_id": "1"})]
    with pytest.raises(ConfigError, match="must be one of jsonl, csv, tsv"):
        open_source(path, format="xml")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.csv", b"", "is empty"),
        ("a.jsonl", b"\n  \n", "holds no records: expected one JSON object per line"),
        ("a.jsonl", b"\xef\xbb\xbf", "holds no records"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "holds no records"),
        ("a.csv", b"id,text\n", "holds no records: expected a header line"),
        ("a.csv", b"\n\n", "is empty"),
        ("a.csv", b";;;\n\r\n", "is empty"),
        ("a.csv", b'"id";"text\n1;a\n', "the header is not CSV"),
        ("a.csv", b"id,text,descri\xe7\xe3o\n1,a,b\n", "the header is not UTF-8"),
        ("a.csv", b"\x28\xb5\x2f\xfd" + bytes(9), "packed as zstd"),
        ("a.jsonl.xz", lzma.compress(b"{}"), "packed as xz"),
        ("a.jsonl.bz2", bz2.compress(b"{}"), "packed as bzip2"),
        ("a.xlsx", b"PK\x03\x04" + bytes(9), "packed as zip"),
        ("a.jsonl.gz", gzip.compress('{"_id": "1"}'.encode("utf-16"), mtime=0), "is UTF-16"),
        ("a.csv", b"name,body\n1,a\n", r'must name "_id" \(or "id"\) and "text", it has: name, body'),
        ("a.csv", b"id,text,text\n", "blank or repeated column names"),
        ("a.csv", b'"i\nd",text\n', "it has: i d, text"),
        ("a.jsonl", b'[\n{"_id": "1"}\n]\n', r"one JSON array.*jq"),
        ("a.jsonl", '{"_id": "1"}'.encode("utf-16"), "is UTF-16"),
        ("a.unknown", b"just some words\n", "neither JSONL nor CSV nor TSV"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = _write(tmp_path / name, content)
    with pytest.raises(InputFileError, match=message) as caught:
        list(open_source(path))
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["~nobody-of-this-name/a.jsonl", "a\0.jsonl", "x" * 5000])
def test_paths_that_no_file_can_have(path: str) -> None:
    with pytest.raises(InputFileError):
        open_source(path)


def test_no_file_a_directory_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        open_source(tmp_path / "missing.jsonl")
    with pytest.raises(InputFileError, match="is a directory"):
        open_source(tmp_path)
    path = _write(tmp_path / "a.jsonl", b'{"_id":"1"}\n')
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(InputFileError, match=r"cannot read .*Permission denied"):
        open_source(path)


def test_truncated_gzip_gives_what_is_there_then_says_where_it_ends(tmp_path: Path) -> None:
    lines = [json.dumps({"_id": str(n), "text": os.urandom(40).hex()}) for n in range(200)]
    content = gzip.compress("\n".join(lines).encode())
    path = _write(tmp_path / "a.jsonl.gz", content[: len(content) // 2])
    rows: list[Any] = []
    with pytest.raises(InputFileError, match=r"a\.jsonl\.gz, line \d+: the compressed data ends early"):
        rows.extend(open_source(path))
        raise AssertionError("not reached")
    rows = []
    try:
        for row in open_source(path):
            rows.append(row)
    except InputFileError:
        pass
    assert 1 < len(rows) < 200
    assert all(isinstance(row, Row) for row in rows[:-1])
    assert isinstance(rows[-1], Broken) and rows[-1].line == len(rows)


def test_damaged_gzip(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b'{"_id":"1"}\n' * 5000))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(InputFileError, match=r"cannot be read|ends early"):
        list(open_source(_write(tmp_path / "a.jsonl.gz", bytes(content))))


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))  # type: ignore[type-var]

    feed(b'{"_id":"1"}\n')
    source = open_source("-")
    assert (source.name, source.identity) == ("stdin", {"path": "-", "bytes": None})
    assert list(source) == [Row(1, {"_id": "1"})]
    feed(gzip.compress(b"id\ttext\n1\ta\n"))
    assert list(open_source("-", format="tsv")) == [Row(2, {"id": "1", "text": "a"})]
    for content in (b"id,text\n1,a\n", b"\xef\xbb\xbfid;text\n1;a\n", gzip.compress(b"id\ttext\n1\ta\n")):  # by what it begins with
        feed(content)
        assert list(open_source("-")) == [Row(2, {"id": "1", "text": "a"})]
    feed(b'["1", {"7": 0.5}]\n')  # an entry
    assert list(open_source("-")) == [Row(1, ["1", {"7": 0.5}])]
    feed(b"")
    with pytest.raises(InputFileError, match="stdin holds no records"):
        list(open_source("-"))


class Slow(io.RawIOBase):
    """Gives a byte at a time, as a pipe may whose writer is slow."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._content.read(1)
        buffer[: len(found)] = found
        return len(found)


RECORDS = [{"id": "1", "text": "ação"}, {"id": "2", "text": "b" * 70_000}]
TABLES = {
    end: "".join(f"{one},{other}{end}" for one, other in [("id", "text"), *(record.values() for record in RECORDS)])
    for end in ("\n", "\r\n", "\r")
}
CONTENTS = [
    *(mark + table.encode() for mark in (b"", b"\xef\xbb\xbf") for table in TABLES.values()),
    gzip.compress(TABLES["\n"].encode()),
    ("\n\n" + TABLES["\n"]).encode(),
    TABLES["\n"].replace(",", "\t").encode(),
    TABLES["\n"].replace(",", ";").encode(),
    ("".join(json.dumps(record) + "\n" for record in RECORDS)).encode(),
    ("\n" * 9_000 + "".join(json.dumps(record) + "\n" for record in RECORDS)).encode(),
]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_stdin_may_come_byte_by_byte(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Slow(content), io.BytesIO(content)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(stream)))  # type: ignore[type-var]
        assert [row.raw for row in open_source("-") if isinstance(row, Row)] == RECORDS


@pytest.mark.parametrize(("content", "said"), [(b"PK\x03\x04" + b"x" * 99, "packed as zip"), ("id,text".encode("utf-16"), "UTF-16")])
def test_what_stdin_cannot_be_is_told_however_it_comes(content: bytes, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Slow(content))))
    with pytest.raises(InputFileError, match=said):
        list(open_source("-"))


def test_a_header_longer_than_any_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "c" * 9_000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Slow(f"{name},id,text\n1,2,a\n".encode()))))
    assert list(open_source("-")) == [Row(2, {name: "1", "id": "2", "text": "a"})]


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("pipe.jsonl", b'{"_id":"1"}\n{"_id":"2"}\n', [Row(1, {"_id": "1"}), Row(2, {"_id": "2"})]),
        ("63", b"id,text\n1,a\n", [Row(2, {"id": "1", "text": "a"})]),  # its name says nothing, its content does
    ],
)
def test_a_pipe_is_read_once_from_its_beginning(tmp_path: Path, name: str, content: bytes, rows: list[Row]) -> None:
    pipe = tmp_path / name
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    source = open_source(pipe)
    writer.start()
    assert list(source) == rows
    writer.join()
    assert source.identity["bytes"] is None


def test_identity_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "a.jsonl", b'{"_id":"1"}\n')
    monkeypatch.chdir(tmp_path)
    source = open_source("a.jsonl")
    assert source.name == "a.jsonl"
    assert source.identity == {"path": str((tmp_path / "a.jsonl").resolve()), "bytes": 12}
