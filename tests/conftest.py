"""Fixtures shared by all tests: tiny models with random weights, made here, so that no test needs a network."""

from __future__ import annotations

import gc
import math
import os
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: threads would only wait for each other, and test processes for both

# Shared machines pause: time is not a property of the code under test. "steady" tries the same examples everywhere, so that a failure
# belongs to the change that it comes with; "random" (pytest --hypothesis-profile=random) looks for new ones.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True, derandomize=True)
settings.register_profile("random", settings.get_profile("steady"), derandomize=False)
settings.load_profile("steady")

gc.disable()  # until all is imported: nothing of it is garbage, and the collector would look through it hundreds of times

IN_ONE_PROCESS = ("tests/servers/", "tests/distributed/", "tests/servers_qdrant/")  # one server, one Ray


def together(nodeid: str) -> str:
    """What stays in one process where there are several: the tests of a file, which share fixtures, and those of a server's folder."""
    return next((folder for folder in IN_ONE_PROCESS if nodeid.startswith(folder)), nodeid.split("::")[0])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The servers first, then files of few tests, which are long ones: many short ones are left to fill the gap at the end."""
    if hasattr(config, "workerinput"):
        sizes = Counter(together(item.nodeid) for item in items)
        items.sort(key=lambda item: (together(item.nodeid) not in IN_ONE_PROCESS, sizes[together(item.nodeid)]))


def pytest_collection_finish() -> None:
    """The libraries and the tests stay until the end: the collector need not look through a million objects again."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # what is left at the end is taken apart as in any process


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal `together` out, in the order of the tests."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)


WORDS = (
    "a o de e que do da em um para com não uma os no se na por mais as dos como mas ao ele das à seu sua ou quando muito "
    "nos já eu também só pelo pela até isso ela entre imposto impostos renda declarar declaração documento vetor consulta "
    "saúde vacina café água rio mar lei prazo banco conta texto busca palavra termo ano dia casa cidade país Brasil"
).split()


def portuguese_vocabulary() -> list[str]:
    """About 200 WordPiece tokens: special ones, letters (with accents) as pieces, and frequent words."""
    letters = string.ascii_letters + "áâãàçéêíóôõúü" + string.digits
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters), ".", ",", "?", *WORDS[10:]]


@pytest.fixture(scope="session", autouse=True)
def whole_batches() -> Iterator[None]:
    """A machine that pauses closes no batch of an ingest before it is full: how many documents are in one is up to the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("splade_ptbr_connectors.ingestion.writer.MAX_BATCH_AGE_S", math.inf)
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain transformers folder: 2-layer BERT with random weights and a Portuguese vocabulary of about 200 tokens."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def exported_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Torch's exporter, which takes seconds for two layers, is run once for each network: processes share what it made."""
    from tests.support.exporting import each_network_once

    root = tmp_path_factory.getbasetemp()
    with each_network_once((root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "exported"):
        yield


def make_tiny_model(folder: Path, *, seed: int = 0, positions: int = 64) -> Path:
    """Write the tiny model into `folder`."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    torch.manual_seed(seed)
    tokens = list(dict.fromkeys(portuguese_vocabulary()))
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        initializer_range=0.1,  # wide enough for activations of different sizes
    )
    BertForMaskedLM(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=False, strip_accents=False).save_pretrained(folder)
    return folder
