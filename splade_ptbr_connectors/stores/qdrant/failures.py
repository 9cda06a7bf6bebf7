"""What qdrant-client raised, over REST, over gRPC or in local mode, as a Failure: the error for the caller, and whether to ask again."""

from __future__ import annotations

import datetime
import email.utils
import json
import re
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from ...errors import (
    StoreAccessError,
    StoreError,
    StoreFormatError,
    StoreNotFoundError,
    StoreRequestTooLargeError,
    StoreUnavailableError,
    StoreWriteError,
)
from ...json_values import parse_json
from ..retries import Failure

OVERLOADED = (408, 429, 502, 503, 504)
_TOO_LARGE = re.compile(r"larger than allowed|length too large|larger than max|too large", re.IGNORECASE)
_OTHER_COLLECTION = re.compile(r"vector name|Vector .* (is )?not found|dimension error", re.IGNORECASE)
_MISSING = re.compile(r"Collection .*(not found|doesn't exist)|Not found: Collection", re.IGNORECASE)
_CERTIFICATE = re.compile(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|hostname mismatch|doesn't match", re.IGNORECASE)
_HANDSHAKE = re.compile(r"\bSSL|\bTLS|handshake", re.IGNORECASE)
_FULL = re.compile(r"No space left|disk (is )?full|not enough (disk )?space|out of disk", re.IGNORECASE)
_LOCKED = re.compile(r"Storage locked|Write operations are forbidden", re.IGNORECASE)
_CUT_OFF = re.compile(r"RST_STREAM|GOAWAY|Stream removed|Connection reset", re.IGNORECASE)
_Code = grpc.StatusCode


class RequestRejectedError(StoreError):
    """The server understood a request and refused what it holds. `reason` is the server's own word."""

    def __init__(self, message: str, reason: str) -> None:
        self.reason = reason
        super().__init__(message)


class CollectionExistsError(StoreError):
    """A collection was to be created that somebody else has created meanwhile."""


def read_failure(error: Exception, url: str) -> Failure:
    """Classify what the client raised.

    Args:
        url: the store's, for messages.
    """
    if isinstance(error, ResourceExhaustedResponse):
        return _overloaded(url, "429", error.message, float(error.retry_after_s))
    if isinstance(error, UnexpectedResponse):
        return _response(error, url)
    if isinstance(error, ResponseHandlingException):
        return _transport(error.source, url)
    if isinstance(error, grpc.RpcError):
        return _rpc(error, url)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return _unavailable(url, "it answered with something else than JSON", retry=True)
    if isinstance(error, QdrantException):  # a 429 whose Retry-After is a date
        return _overloaded(url, "429", "too many requests", _seconds_until(str(error)))
    return Failure(_local(error, url))


def _response(error: UnexpectedResponse, url: str) -> Failure:
    status, reason = error.status_code or 0, _reason(error.content)
    if status in OVERLOADED or status >= 500:
        return _server_error(url, status, reason, error.headers.get("Retry-After"))
    if status == 401:
        return Failure(_access(url, f"it answered {status}: {reason}"))
    if status == 403:
        return Failure(_forbidden(url, "403", reason))
    if status == 404:
        return Failure(_not_found(url, reason))
    if status == 413 or (status == 400 and _TOO_LARGE.search(reason)):
        return Failure(_too_large(url, reason))
    if status == 409 or (status == 400 and "already exists" in reason):
        return Failure(CollectionExistsError(f"{url}: {reason}."))
    if status in (400, 422):
        return Failure(_rejected(url, str(status), reason))
    return _unavailable(url, f"it answered {status} ({reason})", retry=False)  # a redirect, say: not followed with data and key


def _server_error(url: str, status: int, reason: str, retry_after: str | None) -> Failure:
    if _FULL.search(reason) or status == 507:
        return Failure(StoreWriteError(f"the server of {url} has no room left ({reason}): free some space there and run it again."))
    if status == 500 and _OTHER_COLLECTION.search(reason):
        return Failure(_other_collection(url, reason))
    failure = _overloaded(url, str(status), reason, _seconds(retry_after))
    return failure if status in OVERLOADED else Failure(failure.error)


def _transport(source: Exception, url: str) -> Failure:
    text = _one_line(source)
    if isinstance(source, httpx.TimeoutException):
        return _unavailable(url, f"no answer in time ({type(source).__name__})", retry=True)
    if isinstance(source, httpx.ConnectError) and _HANDSHAKE.search(text):
        return Failure(_untrusted(url, text))
    if isinstance(source, httpx.TransportError):
        return _unavailable(url, text, retry=True)
    if isinstance(source, ValueError | TypeError):  # pydantic: an answer that is JSON, but not the one of this request
        return _unavailable(url, f"its answer could not be read ({type(source).__name__}); is it a Qdrant server?", retry=False)
    return _unavailable(url, text, retry=False)


def _rpc(error: Any, url: str) -> Failure:
    code, reason = error.code(), str(error.details() or error.code())
    if code is _Code.UNAVAILABLE and _CERTIFICATE.search(reason + str(getattr(error, "debug_error_string", lambda: "")())):
        return Failure(_untrusted(url, _one_line(reason)))
    if code is _Code.RESOURCE_EXHAUSTED or code is _Code.OUT_OF_RANGE:
        return Failure(_too_large(url, _one_line(reason))) if _TOO_LARGE.search(reason) else _overloaded(url, code.name, reason, None)
    if code is _Code.UNAUTHENTICATED:
        return Failure(_access(url, f"it answered {code.name}: {_one_line(reason)}"))
    if code is _Code.PERMISSION_DENIED or _LOCKED.search(reason):
        return Failure(_forbidden(url, code.name, _one_line(reason)))
    if code is _Code.NOT_FOUND:
        return Failure(_not_found(url, _one_line(reason)))
    if code is _Code.ALREADY_EXISTS or (code is _Code.INVALID_ARGUMENT and "already exists" in reason):
        return Failure(CollectionExistsError(f"{url}: {_one_line(reason)}."))
    if code is _Code.INVALID_ARGUMENT:
        return Failure(_rejected(url, code.name, _one_line(reason)))
    if code is _Code.UNIMPLEMENTED:
        return Failure(
            StoreFormatError(f"the server of {url} does not know a call ({_one_line(reason)}): a store needs Qdrant 1.16 or later.")
        )
    if code is _Code.FAILED_PRECONDITION:  # of the server, not of what it was sent
        return Failure(_overloaded(url, code.name, reason, None).error)
    if code is _Code.DEADLINE_EXCEEDED:
        return _unavailable(url, "no answer in time (DEADLINE_EXCEEDED)", retry=True)
    if _FULL.search(reason):
        return _server_error(url, 500, reason, None)
    again = code in (_Code.UNAVAILABLE, _Code.ABORTED, _Code.CANCELLED) or _CUT_OFF.search(reason) is not None
    return _unavailable(url, f"{code.name}: {_one_line(reason)}", retry=again)


def _local(error: Exception, url: str) -> StoreError:
    text = _one_line(error)
    if _MISSING.search(text):
        return _not_found(url, text)
    if "already exists" in text:
        return CollectionExistsError(f"{url}: {text}.")
    if isinstance(error, ValueError | TypeError):  # the client itself could not make a request of it
        return _rejected(url, type(error).__name__, text)
    return StoreError(f"the client of {url} failed with {type(error).__name__}: {text}.")


def _overloaded(url: str, status: str, reason: str, retry_after_s: float | None) -> Failure:
    message = f"the server of {url} answered {status} ({_one_line(reason)}): it is overloaded or failing, try again later."
    return Failure(StoreUnavailableError(message), retry=True, retry_after_s=retry_after_s)


def _unavailable(url: str, reason: str, *, retry: bool) -> Failure:
    message = f"the server of {url} cannot be used: {reason.rstrip('.')}. Check address and port, and whether the server runs."
    return Failure(StoreUnavailableError(message), retry=retry)


def _untrusted(url: str, reason: str) -> StoreAccessError:
    return StoreAccessError(
        f"no trusted connection to {url} ({reason.rstrip('.')}): check the scheme (http or https), or name the certificate authority of "
        "the server (SPLADE_PTBR_QDRANT_CA_CERTS)."
    )


def _access(url: str, reason: str) -> StoreAccessError:
    return StoreAccessError(
        f"the server of {url} does not accept the credentials ({reason.rstrip('.')}): set SPLADE_PTBR_QDRANT_API_KEY to a key that may "
        "do this."
    )


def _forbidden(url: str, status: str, reason: str) -> StoreError:
    """403: what the key may not do, or a server that is locked against writing; only the reason tells."""
    if _LOCKED.search(reason):
        return StoreWriteError(
            f"the server of {url} is locked against writing ({status}: {reason.rstrip('.')}): unlock it and run it again."
        )
    return StoreAccessError(
        f"the server of {url} forbids this ({status}: {reason.rstrip('.')}): set SPLADE_PTBR_QDRANT_API_KEY to a key that may do it, or "
        "ask whoever runs the server or the proxy before it."
    )


def _not_found(url: str, reason: str) -> StoreNotFoundError:
    return StoreNotFoundError(f"there is no store at {url} ({reason.rstrip('.')}): fill one with ingest, or check the address.")


def _too_large(url: str, reason: str) -> StoreRequestTooLargeError:
    return StoreRequestTooLargeError(f"the server of {url} does not take a request of this size ({reason.rstrip('.')}).")


def _other_collection(url: str, reason: str) -> StoreFormatError:
    return StoreFormatError(f"the collection of {url} is not the one that was opened ({reason.rstrip('.')}): open it again.")


def _rejected(url: str, status: str, reason: str) -> StoreError:
    if _OTHER_COLLECTION.search(reason):
        return _other_collection(url, reason)
    return RequestRejectedError(f"the server of {url} refused a request ({status}: {reason.rstrip('.')}).", reason)


def _reason(content: bytes) -> str:
    """What the server says, of its {"status": {"error": ...}} or of whatever else stands there."""
    try:
        status = parse_json(content)["status"]
        text = str(status["error"] if isinstance(status, dict) else status)
    except (ValueError, KeyError, TypeError):
        text = content[:200].decode("utf-8", "replace")
    return _one_line(text)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__


def _seconds(header: str | None) -> float | None:
    """A Retry-After header: seconds or a date."""
    if header is None:
        return None
    return float(header) if header.strip().isdecimal() else _seconds_until(header)


def _seconds_until(text: str) -> float | None:
    date = re.search(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} [\d:]{8} GMT", text)
    if date is None:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(date.group())
    except ValueError:
        return None
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
