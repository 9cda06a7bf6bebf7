"""Settings that a bulk load changes for its time: noted in the index before they change, restored afterwards, by anyone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..calls import Call, Operation
from .index import LOAD_SETTINGS, LOAD_SETTINGS_EMPTY, Index, previous_settings, with_note
from .opening import find


def begin(name: str) -> Operation[dict[str, Any]]:
    """Switch to the settings of a load. Returns what is to be restored.

    The description of the index and its settings come in one answer, of one moment: whoever sees settings of a load sees
    the note as well, and takes the values from it, however many loads run at once.
    """
    index = yield from _index(name)
    previous = previous_settings(index)
    if index.noted is None:
        yield from _put_note(index, previous)
    yield Call("indices.put_settings", {"index": index.name, "body": dict((yield from _wanted(index, previous)))})
    noted = yield from _index(name)
    if noted.noted is None:  # another load ended in between and took the note with it
        yield from _put_note(noted, previous)
    return previous


def end(name: str, previous: Mapping[str, Any], *, patient: bool) -> Operation[None]:
    """Restore the settings, then remove the note."""
    yield Call("indices.put_settings", {"index": name, "body": dict(previous)}, patient=patient)
    index = yield from _index(name)
    if index.noted is not None:
        yield from _put_note(index, None, patient=patient)


def restore(name: str) -> Operation[bool]:
    """What a load that was cut off has left undone. Returns whether there was anything."""
    index = yield from _index(name)
    if index.noted is None:
        return False
    yield from end(name, previous_settings(index), patient=False)
    return True


def _wanted(index: Index, previous: Mapping[str, Any]) -> Operation[Mapping[str, Any]]:
    """Without replicas while the index is first filled: copying a filled one again would cost more than it saves."""
    answer = yield Call("count", {"index": index.name})
    interrupted = index.settings.get("index.number_of_replicas") != previous["index.number_of_replicas"]
    return LOAD_SETTINGS_EMPTY if interrupted or not answer.get("count") else LOAD_SETTINGS


def _index(name: str) -> Operation[Index]:
    from .bulk import index_gone

    index = yield from find(name)
    if index is None:
        raise index_gone(name)
    return index


def _put_note(index: Index, note: Mapping[str, Any] | None, *, patient: bool = False) -> Operation[None]:
    yield Call("indices.put_mapping", {"index": index.name, "body": with_note(index.meta, note)}, patient=patient)
