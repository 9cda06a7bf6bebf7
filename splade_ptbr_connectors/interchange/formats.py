"""The formats by name: what reads and writes each, and which file names say so by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..records import EncodedRecord
from . import anserini, ciff, jsonl, pisa, seismic
from .files import GZ
from .vector_encoding import VectorEncoding, WriteCounts


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        quantised: weights are integers: reading needs the factor.
        named: terms have names; where not, they stand there as numbers.
        describes_itself: says by itself all that a manifest would.
        passages: keeps a document of several passages as one; in the others each is a document of its own, `doc_id#number`.
        suffixes: of file names that no other format has.
        files: all files of one conversion, given the one that is named.
    """

    name: str
    about: str
    read: Callable[[Path, VectorEncoding], Iterator[EncodedRecord]]
    write: Callable[[Path, Iterable[EncodedRecord], VectorEncoding], WriteCounts]
    quantised: bool = False
    named: bool = False
    describes_itself: bool = False
    passages: bool = False
    suffixes: tuple[str, ...] = ()
    files: Callable[[Path], list[Path]] = lambda path: [path]


_ALL = (
    Format(
        "jsonl", "lines of splade-ptbr encode, loaded by ingest", jsonl.read_jsonl, jsonl.write_jsonl, describes_itself=True, passages=True
    ),
    Format(
        "anserini",
        "Anserini and Pyserini JsonVectorCollection: a JSONL file, or a folder of them",
        anserini.read_vectors,
        anserini.write_vectors,
        quantised=True,
        named=True,
        files=anserini.vector_files,
    ),
    Format(
        "anserini-queries",
        "Anserini and Pyserini impact queries: id, tab, tokens repeated by impact",
        anserini.read_queries,
        anserini.write_queries,
        quantised=True,
        named=True,
        suffixes=(".tsv",),
    ),
    Format("ciff", "Common Index File Format", ciff.read_ciff, ciff.write_ciff, quantised=True, named=True, suffixes=(".ciff",)),
    Format("pisa", "PISA's uncompressed index", pisa.read_pisa, pisa.write_pisa, True, True, suffixes=(pisa.DOCS,), files=pisa.pisa_files),
    Format("seismic", "Seismic's JSONL, weights as they are", seismic.read_jsonl, seismic.write_jsonl, named=True),
    Format("seismic-bin", "Seismic's binary format", seismic.read_bin, seismic.write_bin, suffixes=(".bin",), files=seismic.bin_files),
)
FORMATS = {one.name: one for one in _ALL}


def format_of(path: Path, name: str | None, option: str) -> Format:
    """The format of that name, or the one that the file name says.

    Raises:
        ConfigError: no such format, or a name that several formats share; `option` is what to give then.
    """
    if name is not None:
        if name not in FORMATS:
            raise ConfigError(f"format is {name!r}: it must be one of {', '.join(FORMATS)}.")
        return FORMATS[name]
    suffix = path.with_suffix("").suffix if path.suffix == GZ else path.suffix
    for one in _ALL:
        if suffix in one.suffixes:
            return one
    raise ConfigError(f"the name {path.name!r} does not say its format: give {option}, one of {', '.join(FORMATS)}.")
