"""Every error this package raises on purpose.

    SpladeConnectorsError
    ├── ConfigError                   a setting, URL, filter or recipe is not valid
    ├── MissingExtraError             an optional dependency is not installed
    ├── InputError                    what the caller passed in cannot be used
    │   ├── VectorError               not a sparse vector: lengths, order, range, NaN ...
    │   ├── TextError                 not a text: type, lone surrogate, NUL, size
    │   ├── RecordError               not a record: missing "_id", wrong types ...
    │   └── InputFileError            a file that is missing, empty, broken or of an unknown format
    ├── ModelError
    │   ├── ModelNotFoundError        no such model, folder or hub id
    │   ├── ModelFormatError          the folder exists, but is not a usable model
    │   └── ModelMismatchError        the store was filled with another model
    ├── StoreError
    │   ├── StoreNotFoundError        there is nothing to open
    │   ├── StoreLockedError          another process holds it
    │   ├── StoreFormatError          not a store, or of a future format version
    │   ├── StoreWriteError           the disk rejected a write: full, no permission
    │   ├── StoreRefusedError         the engine refused single documents; the others of their batch are stored
    │   ├── StoreRequestTooLargeError one document is more than a server takes in a request
    │   ├── StoreUnavailableError     a server cannot be reached, or stayed overloaded beyond the deadline
    │   ├── StoreAccessError          a server does not accept the credentials, or its certificate is not trusted
    │   ├── StoreCorruptError         what is stored is not what was written, or the engine gave up on its data
    │   └── StoreClosedError          used after close()
    ├── IngestError                   a checkpoint or dead-letter file that does not fit this run
    └── TrainingError                 a training run that cannot continue: collapsed, diverged, its checkpoint unusable

A message says what was wrong, the value, what is accepted and what to do next, in one line.
"""

from __future__ import annotations

from collections.abc import Sequence


class SpladeConnectorsError(Exception):
    """Base of every error of this package: catch it to catch them all."""


class ConfigError(SpladeConnectorsError):
    """A setting, URL, filter or recipe is not valid."""


class MissingExtraError(SpladeConnectorsError):
    """An optional dependency is not installed; `extra` names what to install."""

    def __init__(self, feature: str, extra: str) -> None:
        self.extra = extra
        command = f'pip install "splade-ptbr-connectors[{extra}]", or in a clone pip install ".[{extra}]"'
        super().__init__(f"{feature} needs an optional dependency. Install it with: {command}")


class InputError(SpladeConnectorsError):
    """What the caller passed in cannot be used."""


class VectorError(InputError):
    """Not a sparse vector."""


class TextError(InputError):
    """Not a text that can be encoded."""


class RecordError(InputError):
    """Not a record that can be ingested."""


class InputFileError(InputError):
    """A file that is missing, empty, broken or of an unknown format."""


class ModelError(SpladeConnectorsError):
    """Base of the errors about models."""


class ModelNotFoundError(ModelError):
    """No such shipped model, folder or hub id."""


class ModelFormatError(ModelError):
    """The folder exists, but is not a usable model."""


class ModelMismatchError(ModelError):
    """The store was filled with another model than the one it was opened with."""


class StoreError(SpladeConnectorsError):
    """Base of the errors about stores."""


class StoreNotFoundError(StoreError):
    """There is nothing to open."""


class StoreLockedError(StoreError):
    """Another process holds the store."""


class StoreFormatError(StoreError):
    """Not a store of this package, or one of a future format version."""


class StoreWriteError(StoreError):
    """The disk rejected a write: full, no permission, read-only."""


class StoreRefusedError(StoreError):
    """The engine refused single documents; `refusals` names each with its reason, the others of their batch are stored."""

    def __init__(self, message: str, refusals: Sequence[tuple[str, str]]) -> None:
        self.refusals = tuple(refusals)
        super().__init__(message)


class StoreRequestTooLargeError(StoreError):
    """More than a server takes in one request."""


class StoreUnavailableError(StoreError):
    """A server cannot be reached, does not answer in time, or stayed overloaded beyond the deadline."""


class StoreAccessError(StoreError):
    """A server does not accept the credentials, or its certificate is not trusted."""


class StoreCorruptError(StoreError):
    """What is stored is not what was written, or the engine gave up on its own data; after the latter the handle is closed for good."""


class StoreClosedError(StoreError):
    """The store was used after close()."""


class IngestError(SpladeConnectorsError):
    """A checkpoint or dead-letter file that does not fit this run."""


class TrainingError(SpladeConnectorsError):
    """A training run that cannot continue: collapsed, diverged, or its checkpoint cannot be used."""
