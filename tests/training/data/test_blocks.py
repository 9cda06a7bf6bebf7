"""Blocks of whole lines: the same lines as the whole file has, whatever the block size; files that cannot be read by offset."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import InputFileError
from tests.training.data.support import travelled
from training.data import blocks
from training.data.blocks import ByteFile, FileState, read_blocks, require_plain, whole_numbers

LINES = st.lists(st.text(st.characters(blacklist_characters="\n", blacklist_categories=("Cs",)), max_size=12).map(str.encode), min_size=1)


@given(lines=LINES, size=st.integers(1, 40), ended=st.booleans(), bom=st.booleans(), limit=st.none() | st.integers(1, 12))
def test_blocks_are_the_lines_of_the_file_with_their_numbers_and_places(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], size: int, ended: bool, bom: bool, limit: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    content = (b"\xef\xbb\xbf" if bom else b"") + b"\n".join(lines) + (b"\n" if ended else b"")
    if not content.removeprefix(b"\xef\xbb\xbf") or content.startswith((b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b")):
        return
    path.write_bytes(content)
    expected = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    expected = (expected[:-1] if not expected[-1] else expected)[:limit]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", size)
        found = list(read_blocks(path, limit=limit))
    split = [line for block in found for line in block.data[:-1].split(b"\n")]
    if content.startswith(b"\xef\xbb\xbf") and size < 3:
        return  # a byte order mark over two blocks: blocks of real size hold it
    assert split == expected
    for block in found:
        assert content[block.offset :].startswith(block.data[:-1])
        assert block.line == 1 + content[: block.offset].count(b"\n")


@given(numbers=st.lists(st.integers(0, 10**18 - 1), min_size=1))
def test_whole_numbers_are_what_int_reads(numbers: list[int]) -> None:
    text = "\t".join(map(str, numbers)).encode()
    data = np.frombuffer(text + b"\n", dtype=np.uint8)
    ends = np.flatnonzero((data == 9) | (data == 10))
    starts = np.concatenate([[0], ends[:-1] + 1])
    found = whole_numbers(data, starts, ends)
    assert found is not None and found.tolist() == numbers


@pytest.mark.parametrize("field", ["", "007", "-1", "+1", "1.0", " 1", "1 ", "d1", "1e3", "/", ":", "1" * 19, "\u0661"])
def test_whole_numbers_refuses_what_str_of_int_would_not_write(field: str) -> None:
    data = np.frombuffer(("12\t" + field + "\n").encode(), dtype=np.uint8)
    assert whole_numbers(data, np.array([0, 3]), np.array([2, len(data) - 1])) is None


def test_not_utf_8_and_nul_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "texts.tsv"
    for bad, why in ((b"a\xe9\x00", "not UTF-8"), (b"a\0b", "NUL")):
        path.write_bytes(b"um\ndois\n" + bad + b"\nquatro\n")
        with pytest.raises(InputFileError, match=rf"line 3: .*{why}"):
            for block in read_blocks(path):
                block.require_text()


def test_files_that_have_no_byte_offsets_are_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        require_plain(tmp_path / "missing.tsv")
    with pytest.raises(InputFileError, match="is a folder"):
        require_plain(tmp_path)
    (tmp_path / "empty.tsv").touch()
    (tmp_path / "mark.tsv").write_bytes(b"\xef\xbb\xbf")
    (tmp_path / "sixteen.tsv").write_bytes("1\ttexto".encode("utf-16"))
    (tmp_path / "packed.tsv").write_bytes(gzip.compress(b"1\ttexto\n"))
    for name, why in (
        ("empty.tsv", "is empty"),
        ("mark.tsv", "is empty"),
        ("sixteen.tsv", "UTF-16"),
        ("packed.tsv", "gunzip --keep packed.tsv"),
    ):
        with pytest.raises(InputFileError, match=why):
            require_plain(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputFileError, match="pipe or a device"):
        require_plain(tmp_path / "pipe")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
    monkeypatch.setattr(blocks, "MAX_LINE_BYTES", 128)
    (tmp_path / "long.txt").write_bytes(b"curta\n" + b"x" * 1000)
    with pytest.raises(InputFileError, match="line 2: more than"):
        list(read_blocks(tmp_path / "long.txt"))


def state_of(path: Path, limit: int | None = None) -> FileState:
    states: list[FileState] = []
    for _ in read_blocks(path, limit=limit, done=states.append):
        pass
    return states[0]


@pytest.mark.parametrize("content", [b"a\nb\n", b"a\nb", b"\xef\xbb\xbfa\nb\n", b"\xef\xbb\xbfa"])
def test_a_file_with_a_new_date_is_the_same_file_and_one_with_other_content_is_not(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    state = state_of(path)
    assert state.read == len(content) and state.still(path) == state
    os.utime(path, ns=(1, 1))
    again = state.still(path)
    assert again is not None and again.sha256 == state.sha256 and again.modified_ns == 1
    path.write_bytes(content[:-1] + b"x")
    os.utime(path, ns=(2, 2))
    assert state.still(path) is None
    path.write_bytes(content + b"x")
    assert state.still(path) is None


def test_only_what_was_read_counts_for_the_identity(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\nb\nc\n")
    first = state_of(path, limit=2)
    path.write_bytes(b"a\nb\nz\n")
    assert first.read == 4 and state_of(path, limit=2).sha256 == first.sha256 != state_of(path).sha256


def test_bytes_at_offsets_by_pread_and_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"zero\num\ndois\n")
    file = ByteFile(path)
    expected = [b"zero\n", b"um\n"]
    assert [file.read(0, 5), file.read(5, 8)] == expected
    monkeypatch.delattr(os, "pread", raising=False)
    assert [file.read(0, 5), file.read(5, 8)] == expected
    assert [file.line_number(offset) for offset in (0, 4, 5, 8)] == [1, 1, 2, 3]
    assert travelled(file).read(8, 12) == b"dois"


def test_a_file_that_became_shorter_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    file = ByteFile(path)
    path.write_bytes(b"x" * 10)
    with pytest.raises(InputFileError, match="has become shorter"):
        file.read(5, 50)
