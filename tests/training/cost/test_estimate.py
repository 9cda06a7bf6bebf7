"""The estimate of a run: it grows with what costs more, is right about what can be counted, and near what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from splade_ptbr_connectors.errors import ConfigError
from tests.training.support import MID_BATCH, MID_CHUNK, MID_SIZE, BertBiEncoder
from training.cost.estimate import MEMORY_FACTOR, TIME_FACTOR, Calibration, Estimate, NetworkSizes, TextLengths, calibrate, estimate
from training.recipe.sections import Training

BASE = NetworkSizes(
    layers=12,
    hidden_size=768,
    intermediate_size=3072,
    heads=12,
    vocab_size=29_794,
    parameters=109_000_000,
    linear_parameters=12 * (4 * 768**2 + 2 * 768 * 3072) + 768**2,
)
TRAINING = Training(steps=1000, batch_queries=32, length_query=32, length_document=256)


def changed(section: Training, **values: Any) -> Training:
    """The section with other values, checked."""
    return Training.model_validate(section.model_dump() | values)


LENGTHS = TextLengths(mean_query=10.0, mean_document=90.0, longest_query=32, longest_document=256)


def cost(
    training: Training = TRAINING, lengths: TextLengths = LENGTHS, documents: int = 64, sizes: NetworkSizes = BASE, **more: Any
) -> Estimate:
    return estimate(sizes, training, lengths, documents=documents, **more)


# -- it grows ---------------------------------------------------------------------------------------------------------------

LARGER: dict[str, Callable[[int], Estimate]] = {
    "steps": lambda n: cost(changed(TRAINING, steps=n)),
    "accumulation": lambda n: cost(changed(TRAINING, accumulation=n)),
    "queries": lambda n: cost(changed(TRAINING, batch_queries=n)),
    "documents": lambda n: cost(documents=n),
    "length": lambda n: cost(lengths=TextLengths.of([7, 30], [20, 60, n], changed(TRAINING, length_document=10_000))),
    "allowed length": lambda n: cost(lengths=TextLengths.of([7, 30], [20, 60, 500], changed(TRAINING, length_document=n))),
    "layers": lambda n: cost(sizes=replace(BASE, layers=n)),
    "vocabulary": lambda n: cost(sizes=replace(BASE, vocab_size=n)),
}


@pytest.mark.parametrize("what", sorted(LARGER))
@given(small=st.integers(1, 600), more=st.integers(0, 600))
def test_nothing_gets_cheaper_when_something_grows(what: str, small: int, more: int) -> None:
    one, other = LARGER[what](small), LARGER[what](small + more)
    assert one.tokens <= other.tokens
    assert one.operations <= other.operations
    assert one.memory.total <= other.memory.total


@given(steps=st.integers(1, 10**6), factor=st.integers(1, 9))
def test_tokens_operations_and_time_are_proportional_to_steps(steps: int, factor: int) -> None:
    calibration = Calibration(0.5, 1e-4, 2e-4)
    one, several = (cost(changed(TRAINING, steps=steps * n), calibration=calibration) for n in (1, factor))
    assert several.tokens == factor * one.tokens
    assert several.operations == pytest.approx(factor * one.operations)
    assert several.seconds == pytest.approx(factor * (one.seconds or 0.0))
    assert several.memory == one.memory


@given(chunk=st.integers(2, 48), documents=st.integers(64, 500))
def test_pieces_of_half_the_batch_or_less_need_less_memory_and_more_operations(chunk: int, documents: int) -> None:
    whole, pieces = cost(documents=documents), cost(changed(TRAINING, gradcache_chunk=chunk), documents=documents)
    assert pieces.memory.total < whole.memory.total
    assert pieces.operations > whole.operations
    assert pieces.tokens == whole.tokens


def test_several_processes_share_the_activations_and_each_holds_the_whole_batchs_vectors() -> None:
    one, four = cost(), cost(processes=4)
    assert four.memory.activations == one.memory.activations // 4
    assert four.memory.whole_batch > one.memory.whole_batch == 0
    with pytest.raises(ConfigError, match="a batch of 32 queries"):
        cost(processes=33)


def test_what_a_setting_saves_or_costs_is_seen() -> None:
    plain = cost().memory
    assert cost(sizes=replace(BASE, gradient_checkpointing=True)).memory.activations < plain.activations / 3
    assert cost(sizes=replace(BASE, gradient_checkpointing=True)).operations > cost().operations
    assert cost(sizes=replace(BASE, attention_matrices=True)).memory.activations > plain.activations
    assert cost(sizes=replace(BASE, dropout=True)).memory.activations > plain.activations
    assert cost(changed(TRAINING, precision="bfloat16")).memory.activations < plain.activations
    assert cost(query_network=False).operations < cost().operations
    assert cost(sizes=replace(BASE, expansion=False)).operations < cost().operations


# -- what can be counted ----------------------------------------------------------------------------------------------------


def test_tokens_are_texts_times_their_mean_length() -> None:
    found = cost(changed(TRAINING, steps=5, accumulation=3))
    assert (found.batches, found.tokens) == (15, 15 * (32 * 10 + 64 * 90))


@pytest.mark.parametrize("length", [16, 64])
def test_operations_are_those_that_torch_counts_within_a_fifth(length: int) -> None:
    """The oracle counts the matrix products of the backbone."""
    from torch.utils.flop_counter import FlopCounterMode

    sizes = {"vocab_size": 400, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 256}
    splade = SpladeModel(BertForMaskedLM(BertConfig(**sizes, attn_implementation="eager")).train())
    network = NetworkSizes.of(splade, parameters=1)
    ids = torch.randint(5, 400, (8, length))
    with FlopCounterMode(display=False) as counter:
        splade.features(ids, torch.ones_like(ids)).sum().backward()
    training = Training(steps=1, batch_queries=1, length_query=1, length_document=length)
    found = estimate(replace(network, expansion=False), training, TextLengths(0.0, length, 1, length), documents=8, query_network=False)
    assert found.operations == pytest.approx(counter.get_total_flops(), rel=0.2)


def test_sizes_are_read_from_models_of_several_architectures() -> None:
    bert = BertForMaskedLM(BertConfig(vocab_size=70, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24))
    distil = DistilBertForMaskedLM(DistilBertConfig(vocab_size=70, dim=16, n_layers=3, n_heads=2, hidden_dim=24))
    for backbone in (bert, distil):
        network = SpladeModel(backbone)
        sizes = NetworkSizes.of(network, parameters=123)
        assert (sizes.layers, sizes.hidden_size, sizes.intermediate_size, sizes.heads) == (3, 16, 24, 2)
        assert (sizes.vocab_size, sizes.parameters) == (70, 123)
        assert sizes.linear_parameters == 3 * (4 * 16**2 + 2 * 16 * 24) + 16**2
        assert sizes.dropout and sizes.attention_matrices
        assert not NetworkSizes.of(network, parameters=1, device="cuda").attention_matrices


def test_a_configuration_without_the_usual_fields_is_refused() -> None:
    network = SpladeModel(BertForMaskedLM(BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1)))
    network.backbone.config = SimpleNamespace(num_hidden_layers=1, hidden_size=4)
    with pytest.raises(ConfigError, match="SimpleNamespace has none of intermediate_size, d_ff, hidden_dim"):
        NetworkSizes.of(network, parameters=1)


@given(lengths=st.lists(st.integers(1, 3000), min_size=1), limit=st.integers(1, 512))
def test_lengths_are_cut_before_they_are_averaged(lengths: list[int], limit: int) -> None:
    found = TextLengths.of(lengths, lengths, changed(TRAINING, length_query=limit, length_document=limit))
    assert found.longest_query == found.longest_document == min(max(lengths), limit)
    assert found.mean_query == found.mean_document == pytest.approx(sum(min(n, limit) for n in lengths) / len(lengths))


def test_no_lengths_and_unknown_precisions_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 queries and 1 documents"):
        TextLengths.of([], [3], TRAINING)
    for wrong in ({"precision": "float8"}, {"gradcache_chunk": 1}):
        with pytest.raises(ValidationError):
            changed(TRAINING, **wrong)


# -- time -------------------------------------------------------------------------------------------------------------------


class Machine:
    """A clock and a step that takes exactly overhead + tokens * rate; the first one takes ten times as long."""

    def __init__(self, overhead: float, rate: float) -> None:
        self.overhead, self.rate, self.now, self.calls = overhead, rate, 0.0, 0

    def step(self, queries: int) -> int:
        self.calls += 1
        self.now += (10 if self.calls == 1 else 1) * (self.overhead + 100 * queries * self.rate)
        return 100 * queries

    def clock(self) -> float:
        return self.now


@given(overhead=st.floats(0, 2), rate=st.floats(1e-6, 1e-2), few=st.integers(1, 8), more=st.integers(1, 8), tokens=st.integers(1000, 10**6))
def test_the_calibration_finds_overhead_and_rate_and_does_not_time_the_first_step(
    overhead: float, rate: float, few: int, more: int, tokens: int
) -> None:
    machine = Machine(overhead, rate)
    found = calibrate(machine.step, few=few, more=few + more, clock=machine.clock)
    assert machine.calls == 3
    assert found.overhead_seconds == pytest.approx(overhead, abs=1e-6)
    assert found.seconds_per_token == pytest.approx(rate, rel=1e-6, abs=1e-9)
    low, high = found.seconds(tokens)
    assert low * (1 - 1e-6) - 1e-9 <= overhead + tokens * rate <= high * (1 + 1e-6) + 1e-9


@given(few_seconds=st.floats(0.01, 5), more_seconds=st.floats(0.01, 5), tokens=st.integers(1, 10**6))
def test_no_noise_makes_a_time_or_an_overhead_negative(few_seconds: float, more_seconds: float, tokens: int) -> None:
    times = iter([0.0, few_seconds, 0.0, more_seconds])
    found = calibrate(lambda queries: 50 * queries, few=1, more=2, clock=lambda: next(times))
    low, high = found.seconds(tokens)
    assert found.overhead_seconds >= -1e-12 and found.seconds_per_token >= 0
    assert 0 < low <= high


@pytest.mark.parametrize(("few", "more"), [(0, 2), (2, 2), (3, 1)])
def test_sizes_that_tell_nothing_are_refused(few: int, more: int) -> None:
    with pytest.raises(ConfigError, match="0 < few < more"):
        calibrate(lambda queries: queries, few=few, more=more)


def test_batches_without_more_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="8 and 8 tokens"):
        calibrate(lambda queries: 8, few=1, more=2)


def test_the_time_of_a_run_is_that_of_its_batches_and_its_range_holds_both_readings() -> None:
    found = cost(calibration=Calibration(1.0, 1e-3, 2e-3))
    tokens = 32 * 10 + 64 * 90
    low, high = 1000 * (1.0 + tokens * 1e-3), 1000 * tokens * 2e-3
    assert found.seconds_range == pytest.approx((low / TIME_FACTOR, high * TIME_FACTOR))
    assert low < (found.seconds or 0.0) < high
    assert cost().seconds is None and cost().seconds_range is None


# -- what is printed --------------------------------------------------------------------------------------------------------


def test_the_table_shows_sizes_tokens_memory_and_time_with_their_uncertainty() -> None:
    lines = dict(cost(changed(TRAINING, steps=150_000), calibration=Calibration(0.0, 1e-4, 1e-4)).table())
    assert lines["steps"] == "150,000 (150,000 batches)"
    assert lines["tokens"] == f"{150_000 * 6080:,}"
    assert lines["time"] == "25.3 h (between 16.9 h and 38 h), without validation and saving"
    assert "GiB a process (between" in lines["memory"] and "optimizer 831.6 MiB" in lines["of which"]
    assert dict(cost().table())["time"] == "not measured"


def test_the_dictionary_is_json_and_has_the_same_figures() -> None:
    found = cost(calibration=Calibration(0.0, 1e-4, 1e-4))
    values = json.loads(json.dumps(found.as_dict()))
    assert values["memory_bytes"] == found.memory.total == sum(values["memory"].values())
    assert values["memory_bytes_range"][0] * MEMORY_FACTOR == pytest.approx(values["memory_bytes"], abs=2)
    assert values["seconds"] == found.seconds


# -- what is measured -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak of memory is read from /proc")
def test_the_measured_peak_lies_within_the_stated_factor() -> None:
    root = Path(__file__).resolve().parents[3]
    script = "from tests.training.support import measure_peaks; print(measure_peaks())"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=240, check=True)
    in_pieces, at_once = json.loads(done.stdout.splitlines()[-1])
    lengths = (MID_BATCH["length_query"], MID_BATCH["length_document"])
    training = Training(steps=1, batch_queries=MID_BATCH["queries"], length_query=lengths[0], length_document=lengths[1])
    model = BertBiEncoder(**MID_SIZE)
    sizes = NetworkSizes.of(model.splade, parameters=sum(parameter.numel() for parameter in model.parameters()))
    for chunk, measured in ((MID_CHUNK, in_pieces), (None, at_once)):
        settings = changed(training, gradcache_chunk=chunk)
        found = estimate(sizes, settings, TextLengths(*lengths, *lengths), documents=MID_BATCH["documents"])
        assert 1 / MEMORY_FACTOR < measured / found.memory.total < MEMORY_FACTOR, f"measured {measured}, estimated {found.memory}"
    assert in_pieces < at_once
