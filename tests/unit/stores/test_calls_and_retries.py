"""Operations are the same on a blocking and on an asynchronous client; what may be tried again is, within its deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, StoreError, StoreNotFoundError, StoreUnavailableError
from splade_ptbr_connectors.stores.calls import Call, Operation, drive, drive_async
from splade_ptbr_connectors.stores.connection import Connection
from splade_ptbr_connectors.stores.retries import AttemptFailed, Failure, RetryPolicy, UnfinishedError

FAST = RetryPolicy(first_wait_s=0.0, longest_wait_s=0.0, deadline_s=5.0)


def summing(numbers: list[int]) -> Generator[int, int, int]:
    """Adds up what its steps return; a step that fails counts 100."""
    total = 0
    for number in numbers:
        try:
            total += yield number
        except StoreNotFoundError:
            total += 100
    return total


def answer(number: int) -> int:
    if number < 0:
        raise StoreNotFoundError("negative")
    return number


@given(st.lists(st.integers(-3, 3), max_size=6), st.booleans())
def test_an_operation_gives_the_same_whatever_drives_it(numbers: list[int], in_threads: bool) -> None:
    async def perform(number: int) -> int:
        await asyncio.sleep(0)
        return answer(number)

    expected = sum(number if number >= 0 else 100 for number in numbers)
    assert drive(summing(numbers), answer) == expected
    assert asyncio.run(drive_async(summing(numbers), perform, in_threads=in_threads)) == expected


def test_an_error_that_an_operation_does_not_handle_leaves_it() -> None:
    def failing(number: int) -> int:
        raise StoreUnavailableError("gone")

    with pytest.raises(StoreUnavailableError, match="gone"):
        drive(summing([1]), failing)


class Client:
    """Answers a call with its number, blocking or not."""

    def __init__(self) -> None:
        self.calls = 0

    def count(self) -> int:
        self.calls += 1
        return self.calls


class AsyncClient(Client):
    async def count(self) -> int:  # type: ignore[override]
        return super().count()

    async def close(self) -> None:
        self.calls = -1


def enough(answer: int) -> str:
    if answer < 3:
        raise UnfinishedError(f"only {answer}")
    return f"{answer} calls"


def counting() -> Operation[str]:
    return (yield Call(lambda client: client.count(), enough))


def unread(error: Exception, url: str) -> Failure:
    raise error


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_answer_that_is_not_enough_is_asked_for_again_on_either_client(asynchronous: bool) -> None:
    blocking, other = Client(), AsyncClient()
    connection = Connection("url", blocking, unread, FAST, new_async_client=lambda: other)

    async def run() -> str:
        try:
            return await connection.run_async(counting())
        finally:
            await connection.aclose()

    assert (asyncio.run(run()) if asynchronous else connection.run(counting())) == "3 calls"
    assert (blocking.calls, other.calls) == ((0, -1) if asynchronous else (3, 0))


def test_without_an_asynchronous_client_an_operation_runs_in_a_thread() -> None:
    names: list[str] = []

    def noting() -> Operation[str]:
        names.append(threading.current_thread().name)
        return (yield from counting())

    assert asyncio.run(Connection("url", Client(), unread, FAST).run_async(noting())) == "3 calls"
    assert threading.current_thread().name not in names


def test_what_is_never_enough_is_an_error_of_the_store() -> None:
    with pytest.raises(
        StoreUnavailableError, match=r"^url: only 1; run the load again \(given up after|^url: only 1; run the load again\.$"
    ):
        Connection("url", Client(), unread, RetryPolicy(deadline_s=0.0)).run(counting())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that passes only while a retry waits."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now, sleep=lambda seconds: vars(clock).update(now=clock.now + seconds))
    for module in (tenacity, tenacity.nap):
        monkeypatch.setattr(module, "time", clock)
    return clock


@dataclass
class Attempts:
    """Fails as planned, then succeeds."""

    failures: list[Failure]
    made: list[float] = field(default_factory=list)

    def __call__(self) -> str:
        self.made.append(tenacity.time.monotonic())  # type: ignore[attr-defined]
        if len(self.made) <= len(self.failures):
            raise AttemptFailed(self.failures[len(self.made) - 1])
        return "done"


def run(attempts: Callable[[], Any], policy: RetryPolicy, *, patient: bool = False, retry: bool = True) -> Any:
    return tenacity.Retrying(**policy.arguments(patient=patient, retry=retry))(attempts)


async def run_async(attempts: Callable[[], Any], policy: RetryPolicy) -> Any:
    async def attempt() -> Any:
        return attempts()

    return await tenacity.AsyncRetrying(**policy.arguments(patient=False, retry=True))(attempt)


def passing() -> Failure:
    return Failure(StoreUnavailableError("overloaded."), retry=True)


@given(st.integers(0, 6), st.booleans())
def test_what_passes_is_tried_until_it_has_passed(count: int, last_is_final: bool) -> None:
    final = Failure(StoreNotFoundError("no such collection"))
    for how in (lambda attempts: run(attempts, FAST), lambda attempts: asyncio.run(run_async(attempts, FAST))):
        attempts = Attempts([*(passing() for _ in range(count)), *([final] if last_is_final else [])])
        if last_is_final:
            with pytest.raises(StoreNotFoundError):
                how(attempts)
        else:
            assert how(attempts) == "done"
        assert len(attempts.made) == count + 1
        final.error.args = ("no such collection",)


def test_what_may_not_be_made_twice_is_made_once() -> None:
    attempts = Attempts([passing()])
    with pytest.raises(StoreUnavailableError):
        run(attempts, FAST, retry=False)
    assert len(attempts.made) == 1


def test_other_errors_are_not_translated_or_tried_again() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(broken, FAST)


def test_no_attempt_begins_after_the_deadline_and_the_count_is_told(clock: SimpleNamespace) -> None:
    attempts = Attempts([passing() for _ in range(10_000)])
    policy = RetryPolicy(deadline_s=0.2, load_deadline_s=0.4, first_wait_s=0.01, longest_wait_s=0.02)
    with pytest.raises(StoreUnavailableError, match=r"^overloaded \(given up after \d+ attempts\)\.$"):
        run(attempts, policy)
    assert 0 < attempts.made[-1] <= 0.2
    impatient = len(attempts.made)
    attempts = Attempts([passing() for _ in range(10_000)])
    with pytest.raises(StoreUnavailableError):
        run(attempts, policy, patient=True)
    assert len(attempts.made) > impatient and 0.2 < attempts.made[-1] - attempts.made[0] <= 0.4


def test_a_server_that_asks_for_time_is_left_alone_so_long_but_not_for_ever(clock: SimpleNamespace) -> None:
    asked = Failure(StoreUnavailableError("busy"), retry=True, retry_after_s=0.15)
    attempts = Attempts([asked])
    assert run(attempts, FAST) == "done"
    assert attempts.made[1] - attempts.made[0] == pytest.approx(0.15)
    attempts = Attempts([Failure(StoreUnavailableError("busy"), retry=True, retry_after_s=1e6)])
    assert run(attempts, RetryPolicy(longest_retry_after_s=0.05)) == "done"
    assert attempts.made[1] - attempts.made[0] == pytest.approx(0.05)


def test_the_error_keeps_what_caused_it() -> None:
    def attempt() -> None:
        raise AttemptFailed(Failure(StoreError("translated"))) from OSError("the cause")

    with pytest.raises(StoreError, match="translated") as caught:
        run(attempt, FAST)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan"), "1", None, True])
def test_a_policy_of_numbers_only(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"deadline_s is .*: it must be a finite number of at least 0"):
        RetryPolicy(deadline_s=value)
