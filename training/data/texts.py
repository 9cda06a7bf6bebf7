"""Texts by id from files too large for memory: `id<TAB>text` (MS MARCO) or JSONL (BEIR), found by byte offset."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.errors import InputFileError, TextError
from splade_ptbr_connectors.text import MAX_CHARACTERS, check_text
from training.data.blocks import Block, ByteFile, whole_numbers
from training.data.cache import ArrayWriter, CachedArrays, open_cached

logger = logging.getLogger(__name__)
MAX_ID_BYTES = 255
_CHUNK = 1_000_000
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_MAYBE_BLANK = np.array([*range(33), 0xC2, 0xE1, 0xE2, 0xE3], dtype=np.uint8)
"""First bytes of characters that may be white space."""

Rows = NDArray[np.int64]


class TextStore:
    """The texts of a file. A row is a text's place in the file, from 0; ids are found through a sorted index.

    Ids that are all whole numbers as str(int) writes them are kept as int32 or int64, others as bytes. Memory: what is used of
    the memory-mapped index (4 to 16 bytes a text); texts are read when asked for.
    """

    def __init__(self, path: Path, arrays: CachedArrays) -> None:
        self.path, self._arrays = path, arrays
        self._file = ByteFile(path)

    @classmethod
    def open(cls, path: Path, cache_dir: Path) -> TextStore:
        """Opens a file, and indexes it once: a later start checks the file's size and date only.

        Raises:
            InputFileError: naming file and line: other than two columns, no id, an id twice (both lines), not UTF-8, a NUL
                character, a text of more than 1,000,000 characters; compressed; empty; not there.
            TrainingError: the cache folder cannot be written.
        """
        is_json = path.suffix.lower() in _JSON_SUFFIXES
        variant, build = ("jsonl", _build_jsonl) if is_json else ("tsv", _build_tsv)
        return cls(path, open_cached(cache_dir, "texts", files={"texts": path}, inputs={"variant": variant}, build=build))

    def __len__(self) -> int:
        return int(self._arrays.facts["texts"])

    def __contains__(self, text_id: object) -> bool:
        return isinstance(text_id, str | int) and self.rows([text_id])[0] >= 0

    @property
    def whole_number_ids(self) -> bool:
        """Whether ids are numbers."""
        return self._ids.dtype.kind == "i"

    @property
    def empty_rows(self) -> Rows:
        """Rows whose text is nothing but white space."""
        return self._arrays["empty"]

    def empty(self, rows: Sequence[int]) -> list[int]:
        """Places of those of the rows whose text is empty."""
        return np.flatnonzero(np.isin(rows, self.empty_rows)).tolist() if len(self.empty_rows) else []

    @property
    def sha256(self) -> str:
        """Of the whole content of the file."""
        return self._arrays.sha256

    @property
    def _ids(self) -> NDArray[Any]:
        return self._arrays["ids"]

    def id(self, row: int) -> str:
        """The id of a row."""
        return _id_bytes(self._ids[row]).decode()

    def get(self, text_id: str | int) -> str:
        """The text of an id. Raises InputFileError when there is none."""
        row = int(self.rows([text_id])[0])
        if row < 0:
            raise InputFileError(f"{self.path} has no text with the id {str(text_id)!r}.")
        return self.text(row)

    def text(self, row: int) -> str:
        """The text of a row, without the end of its line."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        starts = self._arrays["starts"]
        line = self._file.read(int(starts[row]), int(starts[row + 1]))
        try:
            text_id, text = (_json_parts if self._arrays.facts["json"] else _tsv_parts)(line)
        except ValueError:
            text_id = b""
        if text_id != _id_bytes(self._ids[row]):
            raise InputFileError(f"{self.path} was changed while it was in use (byte {starts[row]}): start again.")
        return text

    def rows(self, ids: Sequence[str | int] | NDArray[np.int64]) -> Rows:
        """[n] rows of ids, -1 where there is no such id."""
        asked: NDArray[Any] = ids if isinstance(ids, np.ndarray) else self._asked(ids)
        held = self._ids
        fits = (asked >= 0) & (asked <= np.iinfo(held.dtype).max) if held.dtype.kind == "i" else np.char.str_len(asked) <= held.itemsize
        wanted = np.where(fits, asked, held[0]).astype(held.dtype)  # of the same type: another one would copy the whole index
        order = self._arrays["order"] if "order" in self._arrays else None
        places = np.minimum(np.searchsorted(held, wanted, sorter=order), len(held) - 1)
        rows = places if order is None else order[places]
        return np.where((held[rows] == wanted) & fits, rows, -1).astype(np.int64)

    def _asked(self, ids: Sequence[str | int]) -> NDArray[Any]:
        texts = [str(text_id) for text_id in ids]
        if not self.whole_number_ids:
            return np.array([text.encode() for text in texts] or [b""], dtype=np.bytes_)[: len(texts)]
        known = [int(text) if text.isascii() and text.isdigit() and len(text) < 19 and text == str(int(text)) else -1 for text in texts]
        return np.array(known, dtype=np.int64)

    def row_finder(self) -> Callable[[NDArray[np.int64]], Rows]:
        """`rows` for very many numeric ids: a table in memory where ids are dense enough, 4 bytes an id up to the largest."""
        if not self.whole_number_ids:
            raise InputFileError(f"{self.path} has ids that are not whole numbers.")
        largest = int(self._ids.max())
        if largest > 8 * len(self) + _CHUNK:
            return self.rows
        table = np.full(largest + 2, -1, dtype=np.int32)
        table[self._ids] = np.arange(len(self), dtype=np.int32)
        return lambda asked: table[np.where((asked < 0) | (asked > largest), largest + 1, asked)].astype(np.int64)


def _id_bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes) else str(value).encode()


def _tsv_parts(line: bytes) -> tuple[bytes, str]:
    text_id, _, text = line.rstrip(b"\r\n").partition(b"\t")
    return text_id, text.decode()


def _json_parts(line: bytes) -> tuple[bytes, str]:
    """(id, title and text) of a BEIR line. Raises ValueError or TextError saying what is wrong."""
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError('expected an object with "_id" and "text"')
    text_id, title, text = row.get("_id"), row.get("title") or "", row.get("text")
    if isinstance(text_id, bool) or not isinstance(text_id, str | int) or not isinstance(text, str) or not isinstance(title, str):
        raise ValueError('expected "_id" (a string), "text" (a string) and perhaps "title" (a string)')
    return str(text_id).encode(), check_text(f"{title} {text}".strip())


# -- making the index -------------------------------------------------------------------------------------------------


class _NotNumbersError(Exception):
    """An id is not a whole number: the file is indexed again, by strings."""


def _build_tsv(writer: ArrayWriter) -> None:
    try:
        _index(writer, _tsv_numbers(writer))
    except _NotNumbersError:
        writer.discard(*[name for name in ("starts", "numbers", "empty") if name in writer])
        _index(writer, _tsv_strings(writer))
    writer.facts["json"] = False


def _build_jsonl(writer: ArrayWriter) -> None:
    _index(writer, _jsonl_strings(writer))
    writer.facts["json"] = True


Part = tuple[Block, Rows, Mapping[str, NDArray[Any]], Rows]
"""A block, the places of its lines, their ids, and which of them have an empty text."""


def _index(writer: ArrayWriter, parts: Iterator[Part]) -> None:
    count = end = 0
    for block, starts, ids, empty in parts:
        writer.append("starts", starts + block.offset)
        writer.append("empty", empty + count)
        for name, values in ids.items():
            writer.append(name, values)
        count, end = count + len(starts), block.offset + len(block.data)
    size = writer.path("texts").stat().st_size
    writer.append("starts", np.array([min(end, size)], dtype=np.int64))
    _finish_ids(writer, count)
    _require_unique(writer)
    writer.facts.update(texts=count, empty=len(writer["empty"]))
    if len(writer["empty"]):
        line = _line_of(writer, int(writer["empty"][0]))
        logger.warning("%s has %d empty texts, the first in line %d", writer.path("texts"), len(writer["empty"]), line)


def _tsv_columns(block: Block) -> tuple[Rows, Rows, Rows, Rows]:
    """(starts, tabs, ends, empty) of lines with exactly one tab."""
    block.require_text()
    ends = block.ends()
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1] + 1])
    tabs = np.flatnonzero(block.codes == ord("\t"))
    if len(tabs) != len(ends) or not bool(((starts < tabs) & (tabs < ends)).all()):
        _explain_columns(block)
    for line in np.flatnonzero(ends - tabs > MAX_CHARACTERS):
        _check_length(block, int(line), block.data[tabs[line] + 1 : ends[line]])
    maybe = np.flatnonzero(np.isin(block.codes[tabs + 1], _MAYBE_BLANK))
    empty = [line for line in maybe.tolist() if not block.data[tabs[line] + 1 : ends[line]].decode().strip()]
    return starts, tabs, ends, np.array(empty, dtype=np.int64)


def _check_length(block: Block, line: int, text: bytes) -> None:
    try:
        check_text(text.decode())
    except TextError as error:
        block.fail(block.line + line, str(error))


def _explain_columns(block: Block) -> None:
    for number, line in block.lines():
        columns = line.split(b"\t")
        if len(columns) != 2:
            block.fail(number, f"{len(columns)} columns instead of 2: expected id<TAB>text, and no tab within the text.")
        if not columns[0]:
            block.fail(number, "the id is empty: expected id<TAB>text.")


def _tsv_numbers(writer: ArrayWriter) -> Iterator[Part]:
    for block in writer.blocks("texts"):
        starts, tabs, _, empty = _tsv_columns(block)
        numbers = whole_numbers(block.codes, starts, tabs)
        if numbers is None:
            raise _NotNumbersError
        yield block, starts, {"numbers": numbers}, empty


def _tsv_strings(writer: ArrayWriter) -> Iterator[Part]:
    for block in writer.blocks("texts"):
        starts, tabs, _, empty = _tsv_columns(block)
        ids = [block.data[start:tab] for start, tab in zip(starts.tolist(), tabs.tolist(), strict=True)]
        for line, text_id in enumerate(ids, start=block.line):
            _check_id(block, line, text_id)
        yield block, starts, _id_arrays(ids), empty


def _jsonl_strings(writer: ArrayWriter) -> Iterator[Part]:
    for block in writer.blocks("texts"):
        block.require_text()
        starts, ids, empty, place = [], list[bytes](), [], 0
        for number, line in enumerate(block.data.split(b"\n")[:-1], start=block.line):
            if line.strip():
                text_id, text = _parsed(block, number, line)
                if not text:
                    empty.append(len(ids))
                starts.append(place)
                ids.append(text_id)
            place += len(line) + 1
        yield block, np.array(starts, dtype=np.int64), _id_arrays(ids), np.array(empty, dtype=np.int64)


def _parsed(block: Block, number: int, line: bytes) -> tuple[bytes, str]:
    try:
        text_id, text = _json_parts(line)
    except (ValueError, TextError, RecursionError) as error:
        block.fail(number, f"{error}")
    _check_id(block, number, text_id)
    return text_id, text


def _check_id(block: Block, number: int, text_id: bytes) -> None:
    if not text_id or text_id.strip() != text_id or b"\0" in text_id or len(text_id) > MAX_ID_BYTES:
        shown = text_id[:40].decode(errors="replace")
        block.fail(number, f"id {shown!r}: an id has 1 to {MAX_ID_BYTES} bytes no NUL and no white space around it.")


def _id_arrays(ids: list[bytes]) -> dict[str, NDArray[Any]]:
    """Ids of any length, one behind the other, and their lengths."""
    return {
        "characters": np.frombuffer(b"".join(ids), dtype=np.uint8),
        "lengths": np.array([len(text_id) for text_id in ids], dtype=np.int64),
    }


def _finish_ids(writer: ArrayWriter, count: int) -> None:
    """Turns what was collected into the array `ids`: of the smallest integers, or of bytes as long as the longest id."""
    if "numbers" not in writer and count:
        _strings_to_numbers(writer)
    if not count:
        raise InputFileError(f"{writer.path('texts')} has no text: every line is blank.")
    if "numbers" in writer:
        small = int(writer["numbers"].max()) <= np.iinfo(np.int32).max
        for start in range(0, count, _CHUNK):
            writer.append("ids", writer["numbers"][start : start + _CHUNK].astype(np.int32 if small else np.int64))
        writer.discard("numbers")


def _strings_to_numbers(writer: ArrayWriter) -> None:
    lengths, characters = writer["lengths"], writer["characters"]
    ends = np.cumsum(lengths)
    numbers = whole_numbers(characters, ends - lengths, ends)
    if numbers is not None:
        writer.append("numbers", numbers)
    else:
        width = f"S{int(lengths.max())}"
        for start in range(0, len(lengths), _CHUNK):
            places = zip((ends - lengths)[start : start + _CHUNK].tolist(), ends[start : start + _CHUNK].tolist(), strict=True)
            writer.append("ids", np.array([characters[first:last].tobytes() for first, last in places], dtype=width))
    writer.discard("lengths", "characters")


def _require_unique(writer: ArrayWriter) -> None:
    """Sorts the ids where the file does not, and refuses a duplicate."""
    ids = writer["ids"]
    if bool((ids[1:] > ids[:-1]).all()):
        return
    order = np.argsort(ids, kind="stable").astype(np.int64)
    ranked = ids[order]
    again = np.flatnonzero(ranked[1:] == ranked[:-1])
    if len(again):
        place = int(again[np.argmin(order[again + 1])])
        first, second = (_line_of(writer, int(order[place + n])) for n in (0, 1))
        shown = _id_bytes(ids[order[place]]).decode()
        raise InputFileError(f"{writer.path('texts')}, line {second}: the id {shown!r} was already in line {first}; ids must differ.")
    writer.append("order", order)


def _line_of(writer: ArrayWriter, row: int) -> int:
    return ByteFile(writer.path("texts")).line_number(int(writer["starts"][row]))
