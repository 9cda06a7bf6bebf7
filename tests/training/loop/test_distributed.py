"""Two processes train what one process trains: same loss, same gradients, same weights, with and without GradCache."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from splade_ptbr_connectors.errors import ConfigError
from tests.training.support import MODELS, VOCAB, TinyBiEncoder, gradients_of, largest_difference, random_tokens, whole_loss
from training.loop.distributed import Shares, gather, rank_and_world, slice_of
from training.loop.gradcache import batch_backward

WORLD, STEPS, LR, TIMEOUT_S = 2, 3, 2e-3, 120
CASES = [(kind, chunk, micro) for kind in sorted(MODELS) for chunk in (None, 3, 6) for micro in (1, 2)]
"""Model, gradcache_chunk, batches a step (accumulation). Alone, the first process would make fewer pieces of its share than the second."""
MIXED = {
    "activations": torch.arange(20.0).reshape(5, 4) / 7,
    "half": torch.arange(30).reshape(5, 2, 3).to(torch.bfloat16),
    "double": torch.arange(5, dtype=torch.float64) / 3,
    "ids": torch.arange(10).reshape(5, 2) - 3,
    "short": torch.arange(5, dtype=torch.int16),
    "flags": torch.tensor([True, False, False, True, True]),
    "transposed": torch.arange(20).reshape(4, 5).t(),
    "nothing": torch.zeros(5, 0, 3),
}


# -- what every process does; one process does it too and is the oracle ------------------------------------------------------


def train(kind: str, chunk: int | None, micro: int) -> dict[str, Any]:
    """Some AdamW steps over uneven batches: losses, the first step's gradient, final weights."""
    world = rank_and_world()[1]
    model = MODELS[kind](seed=3)
    wrapped: Any = DistributedDataParallel(model) if world > 1 else model
    # Key biases have no gradient but rounding; with a tiny epsilon AdamW would make whole steps of it.
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, eps=1e-3)
    losses, first = [], {}
    for step in range(STEPS):
        optimizer.zero_grad()
        for number in range(micro):
            with wrapped.no_sync() if world > 1 and number < micro - 1 else nullcontext():
                losses.append(float(_one_batch(model, wrapped, chunk, seed=10 * step + number)))
        first = first or gradients_of(wrapped)
        optimizer.step()
    return {"losses": losses, "gradients": first, "weights": {name: value.clone() for name, value in model.state_dict().items()}}


def _one_batch(model: TinyBiEncoder, wrapped: Any, chunk: int | None, seed: int) -> Tensor:
    rank, world = rank_and_world()
    queries, documents = random_tokens(5, 6, seed), random_tokens(9, 12, seed + 1000)
    shares = Shares.of(5, 9, world)
    own_queries, own_documents = shares.slices(rank)
    return batch_backward(
        wrapped,
        queries.rows(own_queries.start, own_queries.stop),
        documents.rows(own_documents.start, own_documents.stop),
        whole_loss(model),
        chunk=chunk,
        shares=shares,
        no_sync=wrapped.no_sync if world > 1 else nullcontext,
    )


def gathered_rows(rank: int) -> dict[str, Any]:
    """Rows 0 to 1 are the first process's, 2 to 4 the second's; then the gradient of a weighted sum over all rows."""
    own = slice(0, 2) if rank == 0 else slice(2, 5)
    leaf = MIXED["activations"][own].clone().requires_grad_(True)
    whole = gather({**{name: tensor[own] for name, tensor in MIXED.items()}, "activations": leaf}, (2, 3))
    (whole["activations"] * torch.arange(20.0).reshape(5, 4)).sum().backward()
    empty = gather({"ids": torch.arange(3 * rank)}, (0, 3))["ids"]
    return {"rows": {name: t.detach() for name, t in whole.items()}, "gradient": leaf.grad, "empty": empty}


def refusals(rank: int) -> list[str]:
    """What `gather` says to counts that cannot be; nothing is sent."""
    messages = []
    for counts in ((1, 1, 1), (2,), (4, 4)):
        with pytest.raises(ConfigError) as error:
            gather({"activations": torch.zeros(5, 1)}, counts)
        messages.append(str(error.value))
    return messages


def per_process_flops() -> tuple[float, float]:
    """FLOPS of the own share, averaged over processes, and of the whole batch."""
    rank, world = rank_and_world()
    documents = random_tokens(8, 12, seed=4)
    part = slice_of(8, rank, world)
    activations = TinyBiEncoder().encode_documents(documents.rows(part.start, part.stop))["activations"].detach()
    own = activations.mean(0).square().sum()
    dist.all_reduce(own)
    return float(own) / world, float(gather({"activations": activations}, (4, 4))["activations"].mean(0).square().sum())


def worker(rank: int, folder: str, port: int) -> None:
    """Everything at once: starting a process costs more than all of it."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.TCPStore("127.0.0.1", port, WORLD, is_master=False)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD)
    torch.manual_seed(100 + rank)  # processes do not share random numbers
    results: dict[str, Any] = {str(case): train(*case) for case in CASES}
    results |= {"gathered": gathered_rows(rank), "refusals": refusals(rank), "flops": per_process_flops()}
    torch.save(results, f"{folder}/{rank}.pt")
    dist.barrier()  # nobody leaves while the other still speaks to it
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("processes")
    store = dist.TCPStore("127.0.0.1", 0, WORLD, is_master=True, wait_for_workers=False)  # held by the one who outlives both
    multiprocessing.set_forkserver_preload([__name__, "torch._dynamo"])  # the libraries are imported once for both
    arguments = (str(folder), store.port)
    context: Any = torch.multiprocessing.start_processes(worker, arguments, nprocs=WORLD, join=False, start_method="forkserver")
    try:
        if not context.join(timeout=TIMEOUT_S):
            context.join(timeout=TIMEOUT_S)
        alive = [process.pid for process in context.processes if process.is_alive()]
        assert not alive, f"processes {alive} still run after {2 * TIMEOUT_S} seconds"
    finally:
        for process in context.processes:
            process.kill()
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(WORLD)]


@pytest.fixture(scope="module")
def alone() -> Callable[[tuple[Any, ...]], dict[str, Any]]:
    results: dict[str, dict[str, Any]] = {}

    def of(case: tuple[Any, ...]) -> dict[str, Any]:
        return results.setdefault(str(case), train(*case))

    return of


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_train_what_one_trains(
    of_processes: list[dict[str, Any]], alone: Callable[[tuple[Any, ...]], dict[str, Any]], case: tuple[Any, ...]
) -> None:
    expected = alone(case)
    for found in (results[str(case)] for results in of_processes):
        assert found["losses"] == pytest.approx(expected["losses"], abs=1e-5)
        assert largest_difference(found["gradients"], expected["gradients"]) < 1e-6
        # a processor that adds up in another order may take the other one of two like maxima in a later step: less than a step
        assert largest_difference(found["weights"], expected["weights"]) < LR / 4


@pytest.mark.parametrize("case", CASES, ids=str)
def test_processes_end_with_the_very_same_weights_and_have_moved(of_processes: list[dict[str, Any]], case: tuple[Any, ...]) -> None:
    first, second = (results[str(case)]["weights"] for results in of_processes)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert largest_difference(first, MODELS[case[0]](seed=3).state_dict()) > 1e-3


def test_gathered_rows_have_their_order_their_types_and_their_shapes(of_processes: list[dict[str, Any]]) -> None:
    for results in of_processes:
        rows = results["gathered"]["rows"]
        assert rows.keys() == MIXED.keys()
        for name, tensor in MIXED.items():
            assert rows[name].dtype == tensor.dtype
            assert torch.equal(rows[name], tensor)
        assert torch.equal(results["gathered"]["empty"], torch.arange(3))


def test_only_own_rows_have_a_gradient_and_averaging_makes_it_the_sum(of_processes: list[dict[str, Any]]) -> None:
    weights = WORLD * torch.arange(20.0).reshape(5, 4)
    gradients = [results["gathered"]["gradient"] for results in of_processes]
    assert torch.equal(torch.cat(gradients), weights)


def test_counts_that_cannot_be_are_refused_before_anything_is_sent(of_processes: list[dict[str, Any]]) -> None:
    for rank, results in enumerate(of_processes):
        three, one, wrong = results["refusals"]
        assert "rows of 3 processes" in three and "2 are running" in three
        assert "rows of 1 processes" in one
        assert f"'activations' is [5, 1] on process {rank}; expected 4 rows" in wrong


def test_flops_of_each_process_alone_is_another_regulariser(of_processes: list[dict[str, Any]]) -> None:
    for averaged, whole in (results["flops"] for results in of_processes):
        assert averaged > whole + 0.01


# -- without processes ------------------------------------------------------------------------------------------------------


@given(world=st.integers(1, 50), more=st.integers(0, 500))
def test_slices_are_disjoint_complete_in_order_and_of_nearly_one_size(world: int, more: int) -> None:
    count = world + more
    parts = [slice_of(count, rank, world) for rank in range(world)]
    assert [row for part in parts for row in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in parts]
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1


@given(world=st.integers(2, 50), data=st.data())
def test_a_batch_smaller_than_the_processes_is_refused_with_advice(world: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, world - 1))
    with pytest.raises(ConfigError, match=rf"a batch of {count} queries .* raise batch_queries to {world} or more"):
        Shares.of(count, 1000, world)


@pytest.mark.parametrize("rank", [-1, 2, 7])
def test_a_rank_outside_the_processes_is_refused(rank: int) -> None:
    with pytest.raises(ConfigError, match="accepted: 0 to 1"):
        slice_of(10, rank, 2)


@given(queries=st.integers(4, 90), documents=st.integers(4, 900), world=st.integers(1, 4))
def test_shares_count_what_their_slices_hold(queries: int, documents: int, world: int) -> None:
    shares = Shares.of(queries, documents, world)
    held = [tuple(part.stop - part.start for part in shares.slices(rank)) for rank in range(world)]
    assert held == list(zip(shares.queries, shares.documents, strict=True))
    assert shares.largest == (max(q for q, _ in held), max(d for _, d in held))


def test_one_process_gathers_its_own_tensors_untouched() -> None:
    encoded = {"activations": torch.rand(3, VOCAB, requires_grad=True)}
    assert gather(encoded, (3,)) is encoded
    with pytest.raises(ConfigError, match="expected 4 rows"):
        gather(encoded, (4,))
    with pytest.raises(ConfigError, match="torchrun"):
        gather(encoded, (3, 3))
