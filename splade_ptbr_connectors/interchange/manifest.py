"""NAME.manifest beside a converted file: what is needed to read it back, as JSON.

The name ends neither in .json nor in .gz: Anserini indexes every such file of a folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ..atomic import write_atomically
from ..errors import InputFileError
from ..json_values import parse_json
from ..validation import Natural, read_as
from .vector_encoding import Factor, TermNames

SUFFIX = ".manifest"
_REMEDY = "convert again, or delete it and give what it said as options"


@dataclass(frozen=True)
class Manifest:
    """What a conversion wrote.

    Attributes:
        format: of the file.
        bytes: size of all its files together: a manifest of another file is noticed.
        terms: "ids" or "tokens".
        quantisation: the factor; None where weights were kept as they are.
        fingerprint: of the model, None if not known.
        pruning: what was applied, as pruning.parse_pruning() reads it.
        documents, postings: written.
        dropped: postings left out because their weight was rounded to 0.
    """

    format: str
    bytes: Natural
    terms: TermNames
    quantisation: Factor | None
    fingerprint: str | None
    pruning: str
    documents: Natural
    postings: Natural
    dropped: Natural

    def write(self, target: Path) -> None:
        """Write it beside its file. Raises InputFileError."""
        try:
            write_atomically(manifest_path(target), json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            raise InputFileError(f"{manifest_path(target)} cannot be written: {error.strerror or error}.") from error


def manifest_path(target: Path) -> Path:
    """The path of the manifest of a file or folder."""
    return target.with_name(target.name + SUFFIX)


def read_manifest(target: Path, format: str, files: Iterable[Path]) -> Manifest | None:
    """The manifest of a file, None if it has none; keys that this version does not know are left out.

    Raises:
        InputFileError: not a manifest, of another format, or of a file of another size.
    """
    path = manifest_path(target)
    try:
        manifest = read_as(Manifest, parse_json(path.read_bytes()))
        size = total_size(files)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputFileError(f"{path} is not a manifest: {error}; {_REMEDY}.") from error
    if manifest.format != format:
        raise InputFileError(f"{path} says that {target.name} is in the format {manifest.format}, it is read as {format}: name that one.")
    if manifest.bytes != size:
        raise InputFileError(f"{path} is of a file of {manifest.bytes:,} bytes, {target.name} has {size:,} (cut off?): {_REMEDY}.")
    return manifest


def total_size(files: Iterable[Path]) -> int:
    """Bytes of all files together. Raises OSError."""
    return sum(file.stat().st_size for file in files)
