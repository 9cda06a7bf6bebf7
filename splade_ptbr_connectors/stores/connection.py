"""The way to a server: the calls of operations made on a blocking or an asynchronous client, with retries."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import tenacity

from ..errors import StoreError, StoreUnavailableError
from .base import Refusal
from .calls import Call, Operation, drive, drive_async
from .credentials import Credentials
from .retries import AttemptFailed, Failure, RetryPolicy, UnfinishedError

T = TypeVar("T")
ReadFailure = Callable[[Exception, str], Failure]


class Connection:
    """The clients of one server, the retries of their calls, and what their errors mean.

    An asynchronous client belongs to one event loop, so that each loop gets its own, closed by aclose() in that loop. Where none can be
    made, run_async() runs the whole operation in a thread, on the blocking client.

    Args:
        url: of the store, for messages.
        client: the blocking client.
        read_failure: what an error of either client means, given the error and the URL.
        new_async_client: makes an asynchronous client for the running event loop.
        credentials: what the server may repeat, and no message may.
        owned: whether the clients are closed here; False for those of the caller.
    """

    def __init__(
        self,
        url: str,
        client: Any,
        read_failure: ReadFailure,
        policy: RetryPolicy,
        *,
        new_async_client: Callable[[], Any] | None = None,
        credentials: Credentials | None = None,
        owned: bool = True,
    ) -> None:
        self.client = client
        self.async_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()
        self._url = url
        self._read_failure = read_failure
        self._policy = policy
        self._new_async_client = new_async_client
        self._credentials = credentials or Credentials()
        self._owned = owned

    # -- running operations ------------------------------------------------------------------------------------------

    def run(self, operation: Operation[T]) -> T:
        """The result of an operation."""
        return drive(operation, self._perform)

    async def run_async(self, operation: Operation[T], *, in_threads: bool = False) -> T:
        """The same without blocking the event loop; `in_threads` as for drive_async()."""
        if self._new_async_client is None:
            return await asyncio.to_thread(self.run, operation)
        return await drive_async(operation, self._perform_async, in_threads=in_threads)

    def _perform(self, call: Call) -> Any:
        return tenacity.Retrying(**self._policy.arguments(patient=call.patient, retry=call.retry))(self._attempt, call)

    async def _perform_async(self, call: Call) -> Any:
        return await tenacity.AsyncRetrying(**self._policy.arguments(patient=call.patient, retry=call.retry))(self._attempt_async, call)

    def _attempt(self, call: Call) -> Any:
        try:
            answer = call.make(self.client)
            return answer if call.read is None else call.read(answer)
        except Exception as error:
            raise self._failed(error) from self._shown(error)

    async def _attempt_async(self, call: Call) -> Any:
        try:
            answer = await call.make(self.async_client())
            return answer if call.read is None else call.read(answer)
        except Exception as error:
            raise self._failed(error) from self._shown(error)

    # -- errors --------------------------------------------------------------------------------------------------------

    def _failed(self, error: Exception) -> AttemptFailed:
        """What an attempt's error means, without what the server repeated of the credentials."""
        failure = self._meaning(error)
        hidden, told = self._credentials.hide, vars(failure.error)
        failure.error.args = tuple(hidden(part) if isinstance(part, str) else part for part in failure.error.args)
        told |= {name: hidden(value) for name, value in told.items() if isinstance(value, str)}
        return AttemptFailed(failure)

    def _meaning(self, error: Exception) -> Failure:
        if isinstance(error, StoreError):
            return Failure(error, retry=isinstance(error, StoreUnavailableError))
        if isinstance(error, UnfinishedError):
            return Failure(StoreUnavailableError(f"{self._url}: {error}; run the load again."), retry=True)
        return self._read_failure(error, self._url)

    def _shown(self, error: Exception) -> Exception | None:
        """The client's own error as the cause, unless it or what led to it holds a secret."""
        chain: list[BaseException | None] = [error]
        while (last := chain[-1]) is not None and len(chain) < 20:
            chain.append(last.__cause__ or last.__context__)
        text = " ".join(f"{one} {one!r} {vars(one)}" for one in chain if one is not None)
        return error if self._credentials.hide(text) == text else None

    def without_secrets(self, refusals: Iterable[Refusal]) -> list[Refusal]:
        """Refusals as they may be shown."""
        return [refusal._replace(reason=self._credentials.hide(refusal.reason)) for refusal in refusals]

    # -- clients -------------------------------------------------------------------------------------------------------

    def async_client(self) -> Any:
        """The asynchronous client of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self.async_clients and self._new_async_client is not None:
            self.async_clients[loop] = self._new_async_client()
        return self.async_clients[loop]

    def close(self) -> None:
        """Close the blocking client."""
        if self._owned:
            self.client.close()

    async def aclose(self) -> None:
        """Close the asynchronous client of this event loop."""
        client = self.async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None and self._owned:
            await client.close()
