"""What an error of the client means: a typed error, and whether asking again can help."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from typing import Any

from opensearchpy import exceptions

from ...errors import (
    StoreAccessError,
    StoreError,
    StoreNotFoundError,
    StoreRequestTooLargeError,
    StoreUnavailableError,
    StoreWriteError,
)
from ..credentials import environment_names
from ..retries import Failure
from .client import RETRY_AFTER

UNAVAILABLE = 503
OVERLOADED = (429, 502, 504)
NODES_ARE_DOWN = "see that every node of the cluster runs (GET /_cluster/health, /_cluster/allocation/explain)"
BLOCKS = ("cluster_block_exception", "index_create_block_exception")
AWAY = ("node_not_connected_exception", "node_disconnected_exception", "node_closed_exception", "connect_transport_exception")
LIFT_THE_BLOCK = "free disk space or lift the block, then run it again"


def read_failure(error: Exception, url: str) -> Failure:
    """What went wrong with one request. An error of no server (a bug, a closed loop) is raised as it is."""
    if isinstance(error, exceptions.SSLError):
        return Failure(_untrusted(error, url))
    if isinstance(error, exceptions.ConnectionTimeout):
        return Failure(
            StoreUnavailableError(f"{url} did not answer in time: check its load and its nodes, or raise timeout_s."), retry=True
        )
    if isinstance(error, exceptions.ConnectionError):
        text = f"cannot reach {url} ({_cause(error)}): check that the server runs and the address is right."
        return Failure(StoreUnavailableError(text), retry=True)
    if isinstance(error, exceptions.TransportError):
        return _answered(error, url)
    if isinstance(error, exceptions.SerializationError | ValueError | RecursionError):
        text = f"{url} answered with something that is not JSON: check that it is an OpenSearch server and not a proxy."
        return Failure(StoreUnavailableError(text), retry=True)
    raise error


def _answered(error: exceptions.TransportError, url: str) -> Failure:
    status, reason, kind = error.status_code, _reason(error), _kind(error)
    if is_block(_details(error), status):
        return Failure(StoreWriteError(f"{url} takes no writes: {reason}; {LIFT_THE_BLOCK}."))
    if kind in ("search_context_missing_exception", "search_phase_execution_exception") and status == 404:
        return Failure(StoreError(f"the scan of {url} was paused too long, or the server restarted: begin it again."))
    if status in (*OVERLOADED, UNAVAILABLE) or is_away(_details(error)):
        asked = retry_after_s(getattr(error, RETRY_AFTER, None))
        advice = "" if status in OVERLOADED else f": {NODES_ARE_DOWN}"
        text = f"{url} is overloaded or down (status {status}: {reason}){advice}."
        return Failure(StoreUnavailableError(text), retry=True, retry_after_s=asked)
    return Failure(_final(status, reason, url))


def is_block(error: Mapping[str, Any], status: object) -> bool:
    """Whether somebody has to lift a block: the server, when its disk has room again (429), or who set it (403).

    One with status 503 goes by itself: the cluster is starting, or elects who manages it.
    """
    return error.get("type") in BLOCKS and status != UNAVAILABLE


def is_away(error: Mapping[str, Any]) -> bool:
    """Whether the server asked another node that is gone, as it does until it notices; the status is 500 then."""
    causes = error.get("root_cause")
    return any(isinstance(each, Mapping) and each.get("type") in AWAY for each in [error, *(causes if isinstance(causes, list) else [])])


def _final(status: object, reason: str, url: str) -> StoreError:
    if status in (401, 403):
        names = environment_names("opensearch")
        hint = f"set {names['user']} and {names['password']}, or {names['api_key']}"
        return StoreAccessError(f"{url} refuses these credentials (status {status}: {reason}): {hint}.")
    if status == 404:
        return StoreNotFoundError(f"there is nothing at {url} ({reason}): fill it with ingest, or check the address.")
    if status == 413:
        return StoreRequestTooLargeError(f"{url} takes no request of this size (status 413): lower max_request_bytes.")
    if isinstance(status, int) and 300 <= status < 400:
        return StoreError(f"{url} answered with a redirect (status {status}), which is not followed: give the real address.")
    return StoreError(f"{url} refused a request (status {status}: {reason}).")


def _untrusted(error: exceptions.TransportError, url: str) -> StoreError:
    return StoreAccessError(
        f"the certificate of {url} is not trusted ({_cause(error)}): name the certificate authority with "
        f"{environment_names('opensearch')['ca_certs']}."
    )


def check_none_failed(answer: Any, url: str) -> Mapping[str, Any]:
    """What the answer says of the shards, if it names none that failed, else raise StoreUnavailableError."""
    shards = answer.get("_shards") if isinstance(answer, Mapping) else None
    if not isinstance(shards, Mapping):
        raise StoreUnavailableError(f"{url} answered with something else than the result of a search: check that no proxy is in between.")
    if shards.get("failed"):
        raise StoreUnavailableError(f"{shards['failed']} of {shards.get('total')} shards of {url} did not answer: {NODES_ARE_DOWN}.")
    return shards


def check_whole(answer: Any, url: str) -> Mapping[str, Any]:
    """Return the answer if all shards took part and none gave up, else raise StoreUnavailableError: no part is taken for the whole."""
    shards = check_none_failed(answer, url)
    total, successful = shards.get("total", 0), shards.get("successful", shards.get("total", 0))
    if successful < total:  # a shard without a copy that runs is not asked, and does not fail
        raise StoreUnavailableError(f"{total - successful} of {total} shards of {url} have no copy that runs: {NODES_ARE_DOWN}.")
    if answer.get("timed_out"):
        raise StoreUnavailableError(f"{url} ran out of time and found only a part: raise timeout_s, or see to the server.")
    whole: Mapping[str, Any] = answer
    return whole


def retry_after_s(header: str | None) -> float | None:
    """Seconds out of a Retry-After header, which holds seconds or a date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def describe(error: Any) -> str:
    """The server's reason in one line, with the innermost cause."""
    reasons: list[str] = []
    for _ in range(4):
        if not isinstance(error, Mapping):
            break
        reason = " ".join(str(error.get("reason") or error.get("type") or "").split())[:200]
        if reason and reason not in reasons:
            reasons.append(reason)
        error = error.get("caused_by")
    return ": ".join(reasons).rstrip(".")


def _kind(error: exceptions.TransportError) -> str:
    details = _details(error)
    return str(details.get("type", "")) if details else ""


def _reason(error: exceptions.TransportError) -> str:
    details = _details(error)
    if not details:
        return " ".join(str(error.error).split())[:200] or "no reason given"
    causes = details.get("root_cause")
    innermost = causes[0] if isinstance(causes, list) and causes and isinstance(causes[0], Mapping) else details
    reason = describe({**innermost, "caused_by": details.get("caused_by")})
    failed = details.get("failed_shards")
    if not reason and isinstance(failed, list) and failed and isinstance(failed[0], Mapping):
        reason = describe(failed[0].get("reason") or {})
    return reason or str(details.get("type", "no reason given"))


def _details(error: exceptions.TransportError) -> Mapping[str, Any]:
    info = error.info.get("error") if len(error.args) > 2 and isinstance(error.info, Mapping) else None
    return info if isinstance(info, Mapping) else {}


def _cause(error: exceptions.TransportError) -> str:
    # urllib3 begins with the pool or connection object, which says nothing
    text = " ".join(str(error.error).split())
    return text.rpartition(">: ")[2].rpartition(">, ")[2][:200].rstrip(".)'\"") or type(error).__name__
