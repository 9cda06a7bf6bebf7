"""Makes the calls of operations on a blocking client, with retries: for a store on a server, and before there is one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

import tenacity

from .calls import Call, Operation, drive
from .retrying import AttemptFailed, Failure, RetryPolicy

T = TypeVar("T")


class Performer(ABC):
    """Runs operations on `_client`, retried by `_policy`; an engine reads what its client raised."""

    _client: Any
    _policy: RetryPolicy

    def _run(self, operation: Operation[T]) -> T:
        return drive(operation, self._perform)

    def _perform(self, call: Call) -> Any:
        return tenacity.Retrying(**self._policy.arguments(patient=call.patient, retry=call.retry))(self._attempt, call)

    def _attempt(self, call: Call) -> Any:
        try:
            return call.on(self._client)
        except Exception as error:
            raise AttemptFailed(self._read_failure(error, call)) from error

    @abstractmethod
    def _read_failure(self, error: Exception, call: Call) -> Failure: ...
