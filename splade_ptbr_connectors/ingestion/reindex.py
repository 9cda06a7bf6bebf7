"""reindex(): fill a new collection beside the old one, check it, and only then let the alias that searches use point to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import write_atomically
from ..errors import ConfigError, IngestError, StoreNotFoundError
from ..json_values import parse_json
from ..sources import Source, open_source
from ..stores import engine_of, open_store
from ..stores.aliases import NoModel, collection_name, on_server, open_as_it_is, sibling_url
from .engine import ingest
from .report import Hook, IngestReport
from .verify import VerifyReport, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..encoding.protocol import Encoder
    from ..stores.base import Store
    from ..stores.credentials import Credentials

FORMAT = "splade-ptbr reindex 1"


@dataclass(frozen=True)
class ReindexReport:
    """What a re-index did.

    Attributes:
        collection: the new one.
        previous: the collection that the alias pointed to before; it is still there. None when there was no such alias.
        moved: whether the alias points to the new collection now. If not, it points where it did before.
    """

    alias: str
    collection: str
    previous: str | None
    moved: bool
    ingest: IngestReport
    verified: VerifyReport

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        about = {"alias": self.alias, "collection": self.collection, "previous": self.previous, "moved": self.moved}
        return {**about, "ingest": self.ingest.to_dict(), "verified": self.verified.to_dict()}


def reindex(
    records: str | Path | Source,
    alias_url: str,
    *,
    encoder: Encoder,
    state: str | Path,
    dead_letter: str | Path | None = None,
    restart: bool = False,
    allow_rejected: bool = False,
    credentials: Credentials | None = None,
    settings: Mapping[str, Any] | None = None,
    passages: Mapping[str, Any] | bool | None = None,
    progress: Hook | bool | None = None,
) -> ReindexReport:
    """Fill a new collection from a file and point the alias to it. Searches through the alias work all the time.

    The alias moves when the new collection holds exactly what the file says, in one step on the server. A process that
    searches with another model than the new one must be restarted with it.

    Args:
        records: the whole input; it is read twice, so it must be a file.
        alias_url: URL of a server's store whose last part is an alias, or a name that is still free.
        encoder: makes the vectors; it need not be that of the old collection.
        state: file that remembers the unfinished collection, so that a stopped run resumes with it; the checkpoint
            is kept beside it. Both are removed at the end.
        dead_letter: JSONL file for rejected records.
        restart: leave an unfinished collection as it is, and start another.
        allow_rejected: move the alias even if records were rejected.
        settings: the engine's, for the new collection.
        passages: how the new collection has long texts split; see open_store(). None takes what the old one says.

    Raises:
        ConfigError: an embedded store, a stream as input, or a name that is a collection's own.
        IngestError, InputFileError, ModelError, StoreError: as ingest() does; the alias is where it was.
    """
    source = records if isinstance(records, Source) else open_source(records)
    if source.path is None:
        raise ConfigError("the input is a stream: a re-index reads it twice, so it must be a file.")
    opened = partial(open_store, encoder=encoder, credentials=credentials)
    alias = collection_name(alias_url)
    look = partial(open_as_it_is, encoder=NoModel(), allow_mismatch=True, credentials=credentials)
    before = _split_before(look, alias_url)
    state_file = _ReindexState(Path(state), alias_url)
    name = state_file.collection(look, restart=restart)
    url = sibling_url(alias_url, name)
    if passages is None and not _exists(look, url):  # one that a stopped run began goes on as it was begun
        passages = before
    with opened(url, settings=settings, passages=passages) as store:
        report = ingest(source, store, checkpoint=state_file.checkpoint, dead_letter=dead_letter, restart=restart, progress=progress)
        verified = verify(source, store)
        moved = _complete(report, verified, allow_rejected=allow_rejected)
        previous = on_server(store).point_alias(alias) if moved else None
    if moved:
        state_file.remove()
    return ReindexReport(alias, name, previous, moved, report, verified)


def _complete(report: IngestReport, verified: VerifyReport, *, allow_rejected: bool) -> bool:
    """Whether the collection holds what the file says, except for what may be rejected; encoder rejections were already counted."""
    if not allow_rejected:
        return verified.ok and not report.rejected
    refused = report.rejected - verified.rejected
    others = (verified.extra, verified.changed, verified.doubled, verified.wrong_model)
    return verified.missing.count <= refused and not any(difference.count for difference in others)


def _split_before(look: Callable[..., Store], url: str) -> Mapping[str, Any] | bool | None:
    """How the collection behind the alias has long texts split, False: not at all; None where there is none, or none that says so.

    Raises ConfigError when the name is taken by a collection, or the store has no aliases.
    """
    if engine_of(url).deletion is None:
        raise ConfigError(f"{url} is an embedded store, which has no aliases: ingest into a folder of another name, and open that one.")
    try:
        with look(url) as opened:
            current, split = on_server(opened).collection, None if opened.fingerprint is None else opened.passage_settings or False
    except StoreNotFoundError:
        return None
    if current == collection_name(url):
        raise ConfigError(
            f"{url} is a collection, not an alias: re-index under the name of an alias that searches use, "
            "such as one made by splade-ptbr alias."
        )
    return split


class _ReindexState:
    """The file that remembers which new collection is being filled."""

    def __init__(self, path: Path, alias_url: str) -> None:
        self.path = path
        self.checkpoint = path.with_name(path.name + ".checkpoint")
        self._alias_url = alias_url

    def collection(self, look: Callable[..., Store], *, restart: bool) -> str:
        """The unfinished collection, if it is still there, else a new name, which is remembered."""
        name = self._read()
        if name is not None and not restart and _exists(look, sibling_url(self._alias_url, name)):
            return name
        self.checkpoint.unlink(missing_ok=True)
        base = name = f"{collection_name(self._alias_url)}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        number = 1
        while _exists(look, sibling_url(self._alias_url, name)):
            number += 1
            name = f"{base}-{number}"
        content = {"format": FORMAT, "alias": self._alias_url.partition("?")[0], "collection": name}
        try:
            write_atomically(self.path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            raise IngestError(f"cannot write {self.path}: {error.strerror or error}.") from error
        return name

    def remove(self) -> None:
        """The re-index is complete."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> str | None:
        try:
            raw = parse_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise IngestError(f"cannot read {self.path} ({error}): give another path.") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT or not isinstance(raw.get("collection"), str):
            raise IngestError(f"{self.path} exists and is not the state of a re-index: it was not touched, give another path.")
        if raw.get("alias") != self._alias_url.partition("?")[0]:
            raise IngestError(f"{self.path} belongs to a re-index of {raw.get('alias')}: give another path, or finish that one first.")
        return str(raw["collection"])


def _exists(look: Callable[..., Store], url: str) -> bool:
    try:
        look(url).close()
    except StoreNotFoundError:
        return False
    return True
