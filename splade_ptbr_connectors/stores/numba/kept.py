"""Machine code of kernels on the disk, so that it is compiled once and not in every process.

One file for each kernel, version of the kernels, processor and types of arguments: the checksum of the rest, and the rest. Files
are written beside their place and moved there, so that any number of processes may compile at the same time; one that is damaged
is compiled anew. numba's own cache loads a damaged file as machine code, and does not read a folder that it cannot write to.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pickle
import platform
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...extras import require

logger = logging.getLogger(__name__)
numba: Any = require("numba", "the store numba:PATH")
caching: Any = require("numba.core.caching", "the store numba:PATH")
compiler: Any = require("numba.core.compiler", "the store numba:PATH")
serialize: Any = require("numba.core.serialize", "the store numba:PATH")
appdirs: Any = require("numba.misc.appdirs", "the store numba:PATH")
_DIGEST = hashlib.sha256().digest_size


class Kept(caching._Cache):  # type: ignore[misc]
    """What a dispatcher of numba asks for compiled code before it compiles, and hands it to afterwards."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @property
    def cache_path(self) -> str:
        """Where code is looked for first."""
        return str(next(_folders(), ""))

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled kernel, or None."""
        target.refresh()
        name = self._name(signature, target.codegen())
        for folder in _folders():
            content = _read(folder / name)
            if content is not None:
                reduced = pickle.loads(content)  # noqa: S301  # code to be run in any case: who may write to the folder is trusted
                return compiler.CompileResult._rebuild(target, *reduced)
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compiled kernel in the first folder that can be written; where there is none, say so."""
        if result.library.has_dynamic_globals:  # addresses of this process
            return
        content = serialize.dumps(result._reduce())
        name, refused = self._name(signature, result.codegen), OSError("there is not a folder for it")
        for folder in _folders():
            try:
                _write(folder / name, content)
            except OSError as error:
                refused = error
            else:
                return
        _warn(str(refused))

    def enable(self) -> None:
        """Always."""

    def disable(self) -> None:
        """Never."""

    def flush(self) -> None:
        """Nothing is held back."""

    def _name(self, signature: Any, codegen: Any) -> str:
        versions = numba.__version__, platform.python_implementation(), platform.python_version(), _sources()
        code = self._function.__code__
        told = repr((versions, codegen.magic_tuple(), _source(code.co_filename), code.co_firstlineno, str(signature)))
        return f"{self._function.__name__.strip('<>')}-{hashlib.sha256(told.encode()).hexdigest()[:24]}.kernel"


def _folders() -> Iterator[Path]:
    """NUMBA_CACHE_DIR, which is the only one if it is set; else beside this package, and the user's cache folder."""
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR)
        return
    yield Path(__file__).parent / "__pycache__"
    own = Path(appdirs.AppDirs("splade_ptbr_connectors", appauthor=False).user_cache_dir)
    if own.is_absolute():  # it starts with a "~" where there is no home
        yield own


def _read(path: Path) -> bytes | None:
    """What was written, None where there is no such file, or not as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None  # it is compiled, and what is wrong with the folder is told if it cannot be written
    if hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
        return content[_DIGEST:]
    logger.warning("%s is damaged: it is compiled anew", path)
    return None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(hashlib.sha256(content).digest() + content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@functools.cache
def _warn(reason: str) -> None:
    """Once for each reason."""
    logger.warning("compiled code is not kept between processes (%s): set NUMBA_CACHE_DIR to a folder that can be written", reason)


@functools.cache
def _sources() -> str:
    """Names this version of all kernels: each uses others, and constants, of several files."""
    digest = hashlib.sha256()
    for file in sorted(files(__package__).iterdir(), key=lambda file: file.name):
        if file.name.endswith((".py", ".pyc")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@functools.cache
def _source(path: str) -> str:
    """The same for a kernel that is defined elsewhere."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""  # within an archive: of this package, whose sources are known
