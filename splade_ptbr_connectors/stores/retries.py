"""Retries (tenacity): of what a server may be asked again, with jitter, its own Retry-After, and a deadline."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import tenacity
from pydantic import NonNegativeFloat

from ..errors import StoreError
from ..strict import Strict

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with one attempt, as the engine's adapter reads it.

    Attributes:
        error: what the caller gets if this was the last attempt.
        retry: whether asking again can help: connection errors, time-outs, 429, 502, 503, 504; never 400, 401, 403, 404, 413.
        retry_after_s: how long the server wants to be left alone, None if it did not say.
    """

    error: StoreError
    retry: bool = False
    retry_after_s: float | None = None


class RetryPolicy(Strict):
    """How long a call is tried, in seconds.

    Attributes:
        deadline_s: after this an ordinary call is given up; no new attempt begins later.
        load_deadline_s: the same for calls of a bulk load, long enough for a server to restart.
        first_wait_s, longest_wait_s: the random exponential wait between attempts grows from one to the other.
        longest_retry_after_s: a Retry-After beyond this is cut to it.
    """

    noun: ClassVar[str] = "the retry policy's"

    deadline_s: NonNegativeFloat = 15.0
    load_deadline_s: NonNegativeFloat = 300.0
    first_wait_s: NonNegativeFloat = 0.25
    longest_wait_s: NonNegativeFloat = 15.0
    longest_retry_after_s: NonNegativeFloat = 60.0

    def arguments(self, *, patient: bool, retry: bool) -> dict[str, Any]:
        """Arguments of tenacity.Retrying and tenacity.AsyncRetrying for attempts that raise AttemptFailed."""
        deadline = self.load_deadline_s if patient else self.deadline_s
        return {
            "retry": tenacity.retry_if_exception_type(AttemptFailed),
            "wait": self._wait(),
            "stop": _stop(deadline, retry),
            "before_sleep": _log,
            "retry_error_callback": _give_up,
        }

    def _wait(self) -> Callable[[tenacity.RetryCallState], float]:
        jittered = tenacity.wait_random_exponential(multiplier=self.first_wait_s, max=self.longest_wait_s)

        def wait(state: tenacity.RetryCallState) -> float:
            asked = _failure(state).retry_after_s
            return jittered(state) if asked is None else min(asked, self.longest_retry_after_s)

        return wait


class UnfinishedError(Exception):
    """A server answered a write, and has done none or only a part of it: what is left is to be sent again. Never leaves the stores."""


class AttemptFailed(Exception):
    """One attempt failed; carries what the adapter made of it. Never leaves the stores."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(str(failure.error))


def _stop(deadline_s: float, retry: bool) -> Callable[[tenacity.RetryCallState], bool]:
    late = tenacity.stop_before_delay(deadline_s)

    def stop(state: tenacity.RetryCallState) -> bool:
        # what may not be tried again stops too: only a stop ends in retry_error_callback, which raises the caller's error
        return not (retry and _failure(state).retry) or late(state)

    return stop


def _failure(state: tenacity.RetryCallState) -> Failure:
    error = state.outcome.exception() if state.outcome else None
    return error.failure if isinstance(error, AttemptFailed) else Failure(StoreError("nothing failed"))


def _log(state: tenacity.RetryCallState) -> None:
    wait = state.next_action.sleep if state.next_action else 0.0
    logger.warning("attempt %d failed (%s), next in %.1f s", state.attempt_number, _failure(state).error, wait)


def _give_up(state: tenacity.RetryCallState) -> None:
    failure = _failure(state)
    if state.attempt_number > 1:
        message = str(failure.error).rstrip(".")
        failure.error.args = (f"{message} (given up after {state.attempt_number} attempts).", *failure.error.args[1:])
    attempt = state.outcome.exception() if state.outcome else None
    raise failure.error from (attempt.__cause__ if attempt else None)
