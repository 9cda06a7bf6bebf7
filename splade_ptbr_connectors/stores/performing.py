"""Makes the calls of operations on a blocking client, with retries: for a store on a server, and before there is one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

import tenacity

from .calls import Call, Operation, drive
from .credentials import Credentials
from .retrying import AttemptFailed, Failure, RetryPolicy

T = TypeVar("T")


class Performer(ABC):
    """Runs operations on `_client`, retried by `_policy`; an engine reads what its client raised."""

    _client: Any
    _policy: RetryPolicy
    _credentials = Credentials()  # what the server may repeat, and no message may

    def _run(self, operation: Operation[T]) -> T:
        return drive(operation, self._perform)

    def _perform(self, call: Call) -> Any:
        return tenacity.Retrying(**self._policy.arguments(patient=call.patient, retry=call.retry))(self._attempt, call)

    def _attempt(self, call: Call) -> Any:
        try:
            return call.on(self._client)
        except Exception as error:
            raise self._failed(error, call) from self._shown(error)

    def _failed(self, error: Exception, call: Call) -> AttemptFailed:
        """What an attempt's error means, without what the server repeated of the credentials."""
        failure = self._read_failure(error, call)
        hidden, told = self._credentials.hide, vars(failure.error)
        failure.error.args = tuple(hidden(part) if isinstance(part, str) else part for part in failure.error.args)
        told |= {name: hidden(value) for name, value in told.items() if isinstance(value, str)}
        return AttemptFailed(failure)

    def _shown(self, error: Exception) -> Exception | None:
        """The client's own error as the cause, unless it or what led to it holds a secret."""
        chain: list[BaseException | None] = [error]
        while (last := chain[-1]) is not None and len(chain) < 20:
            chain.append(last.__cause__ or last.__context__)
        text = " ".join(f"{one} {one!r} {vars(one)}" for one in chain if one is not None)
        return error if self._credentials.hide(text) == text else None

    @abstractmethod
    def _read_failure(self, error: Exception, call: Call) -> Failure: ...
