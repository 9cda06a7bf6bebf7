"""NAME.manifest beside a converted file: what is needed to read it back, as JSON.

The name ends neither in .json nor in .gz: Anserini indexes every such file of a folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..atomic import write_atomically
from ..errors import InputFileError
from ..json_values import parse_json
from .convention import MAX_IMPACT
from .terms import IDS, TOKENS

SUFFIX = ".manifest"
_MEND = "convert again, or delete it and say by options what it said"


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
    bytes: int
    terms: str
    quantisation: int | None
    fingerprint: str | None
    pruning: str
    documents: int
    postings: int
    dropped: int

    def __post_init__(self) -> None:
        for name in ("bytes", "documents", "postings", "dropped"):
            _check(name, getattr(self, name), _is_integer(getattr(self, name), 0, 2**63), "an integer of at least 0")
        _check("format", self.format, isinstance(self.format, str), "a string")
        _check("terms", self.terms, self.terms in (IDS, TOKENS), f"{IDS!r} or {TOKENS!r}")
        _check("fingerprint", self.fingerprint, isinstance(self.fingerprint, str | None), "a string or null")
        _check("pruning", self.pruning, isinstance(self.pruning, str), "a string")
        usable = self.quantisation is None or _is_integer(self.quantisation, 1, MAX_IMPACT)
        _check("quantisation", self.quantisation, usable, f"null or an integer from 1 to {MAX_IMPACT}")

    def write(self, target: Path) -> None:
        """Write it beside its file. Raises InputFileError."""
        try:
            write_atomically(manifest_path(target), json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            raise InputFileError(f"{manifest_path(target)} cannot be written: {error.strerror or error}.") from error


def manifest_path(target: Path) -> Path:
    """Where the manifest of a file or folder lies."""
    return target.with_name(target.name + SUFFIX)


def read_manifest(target: Path, format: str, files: Iterable[Path]) -> Manifest | None:
    """The manifest of a file, None if it has none.

    Raises:
        InputFileError: not a manifest, of another format, or of a file of another size.
    """
    path = manifest_path(target)
    try:
        manifest = Manifest(**_known(parse_json(path.read_bytes())))
        size = total_size(files)
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError) as error:
        raise InputFileError(f"{path} is no manifest: {error}; {_MEND}.") from error
    if manifest.format != format:
        raise InputFileError(f"{path} says that {target.name} is in the format {manifest.format}, it is read as {format}: name that one.")
    if manifest.bytes != size:
        raise InputFileError(f"{path} is of a file of {manifest.bytes:,} bytes, {target.name} has {size:,} (cut off?): {_MEND}.")
    return manifest


def total_size(files: Iterable[Path]) -> int:
    """Bytes of all files together. Raises OSError."""
    return sum(file.stat().st_size for file in files)


def _known(raw: Any) -> dict[str, Any]:
    """The fields that this version knows: a later one may write more."""
    if not isinstance(raw, dict):
        raise ValueError("it must hold one JSON object")
    return {field.name: raw[field.name] for field in fields(Manifest) if field.name in raw}


def _is_integer(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _check(name: str, value: object, good: bool, accepted: str) -> None:
    if not good:
        raise ValueError(f"{name} is {str(value)[:60]!r}, it must be {accepted}")
