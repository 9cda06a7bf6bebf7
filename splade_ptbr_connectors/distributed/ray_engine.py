"""ingest_with_ray(): one process reads and checks, every core or machine of a Ray cluster encodes and loads.

One reader, because the lines are numbered and a document id may come once only; it is far faster than an encoder.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..extras import require
from ..ingestion.dead_letter import DeadLetter
from ..ingestion.progress import Display, Hook
from ..ingestion.ready import ReadyVectors
from ..ingestion.report import IngestReport
from ..sources import Source, open_source
from ..stores import open_store
from .books import Books
from .rows import COLUMN, Outcome, Table, batches
from .worker import Worker

if TYPE_CHECKING:
    from ..stores.base import Store
    from ..stores.credentials import Credentials, HandedOver

BLOCK_BYTES = 1  # of a table: every row, which is a batch, is one of its own, and goes to the next free worker


def ingest_with_ray(
    records: str | Path | Source,
    store_url: str,
    model: str = "mini",
    *,
    load: Mapping[str, Any] | None = None,
    workers: int | None = None,
    cpus_per_worker: float = 1.0,
    gpus_per_worker: float = 0.0,
    ray_address: str | None = None,
    tenant: str | None = None,
    credentials: Credentials | None = None,
    settings: Mapping[str, Any] | None = None,
    dead_letter: str | Path | None = None,
    batch_size: int = 256,
    progress: Hook | bool | None = None,
) -> IngestReport:
    """Encode the records of a file on every core or machine, and load them into a store on a server.

    Running it again goes on where it was: what the store holds with the same content is neither encoded nor written.

    Args:
        records: a file, readable on this machine; the workers need not see it.
        store_url: a server's. An edge store is for one process and is refused.
        model: shipped name, folder or hub id, loaded by each worker: a folder must be there on every machine.
        load: further arguments of SpladeEncoder.load, such as {"device": "cuda", "batch_size": 64}.
        workers: encoding processes; None takes as many as the cluster's CPUs (or GPUs) allow.
        cpus_per_worker, gpus_per_worker: what each of them is given.
        ray_address: a cluster to join; None takes the Ray this process is connected to, or starts one on this machine.
        credentials: of the server, handed to the workers; None takes them from this process's environment.
        dead_letter: JSONL file for rejected records, in the order of the input.
        batch_size: documents a worker takes at once.

    Returns: the same report as ingest(); a resumed run counts what was there as unchanged.

    Raises:
        ConfigError: an edge store, or a stream as input.
        MissingExtraError: ray is not installed.
        InputFileError, ModelError, StoreError: as ingest() does; what was loaded before stays.
    """
    started = time.monotonic()
    source = _checked_source(records)
    ray = check_ready(store_url)
    _check_sizes(workers, batch_size, cpus_per_worker, gpus_per_worker)
    arguments = {"model": model, **(load or {})}
    handed = _handed_over(credentials, store_url)
    how: dict[str, Any] = {"tenant": tenant, "credentials": handed, "settings": dict(settings or {})}
    opened = partial(_open, store_url, arguments, **how)
    rejected = DeadLetter(Path(dead_letter) if dead_letter else None)
    display = Display(progress, None)
    try:
        with opened(create=True, preload=False) as store, _cluster(ray, ray_address):
            size = workers or _workers(ray, cpus_per_worker, gpus_per_worker)
            worker = {"num_cpus": cpus_per_worker, "num_gpus": gpus_per_worker, "compute": ray.data.ActorPoolStrategy(size=size)}
            reader = _Reader(source, ReadyVectors(store.encoder.vocab_size, store.encoder.fingerprint), batch_size)
            books = Books(rejected, display, started)
            before = store.count()
            with store.loading():
                books.add_all(_outcomes(ray, reader, partial(opened, create=False), worker))
            store.finish_loading()
            reconciled = books.reconcile(store, before)
    finally:
        rejected.close()
        display.close()
    return books.counts.report(time.monotonic() - started, str(rejected.path) if rejected.path and rejected.length else None, 0, reconciled)


def _outcomes(ray: Any, reader: _Reader, opened: partial[Store], worker: Mapping[str, Any]) -> Iterator[Outcome]:
    """The outcomes of all batches, in the order of the input, while later ones are still worked on."""
    here = {f"node:{ray.util.get_node_ip_address()}": 0.001}  # the input is a file of this machine
    with _quiet(ray):
        # the reader takes no CPU from the workers: with all of them taken it would never begin
        read = ray.data.from_items([0]).map_batches(reader, batch_size=None, num_cpus=0, resources=here)
        done = read.map_batches(Worker, fn_constructor_args=(opened,), batch_size=1, **worker)
        for row in done.iter_rows():
            yield Outcome.from_text(row[COLUMN])


class _Reader:
    """Reads the whole source in one task that gives tables out as it goes."""

    def __init__(self, source: Source, ready: ReadyVectors, size: int) -> None:
        self._source = source
        self._ready = ready
        self._size = size

    def __call__(self, _: object) -> Iterator[Table]:
        return batches(self._source, self._ready, self._size)


def _open(
    url: str,
    load: Mapping[str, Any],
    *,
    tenant: str | None,
    credentials: HandedOver | None,
    settings: Mapping[str, Any],
    create: bool,
    preload: bool = True,
) -> Store:
    from ..encoding.encoder import SpladeEncoder

    encoder = SpladeEncoder.load(**load, preload=preload)
    taken = credentials.take() if credentials else None
    return open_store(url, encoder=encoder, create=create, tenant=tenant, credentials=taken, settings=settings)


def _checked_source(records: str | Path | Source) -> Source:
    source = records if isinstance(records, Source) else open_source(records)
    if source.path is None or source.identity["bytes"] is None:
        raise ConfigError(f"the input {source.name} is a stream: Ray may read it twice, so it must be a file.")
    return Source(source.name, source.path.resolve(), source.format)  # the reader may have another current folder


def check_ready(store_url: str) -> Any:
    """The module ray, if it is installed and this store can be loaded with it. Raises ConfigError and MissingExtraError."""
    if isinstance(store_url, str) and store_url.startswith("edge:"):
        raise ConfigError(
            f"{store_url} is an embedded store, which one process may use: load a store on a server with Ray, or this one without it "
            "(its encoder uses every core of this machine all the same)."
        )
    require("ray.data", "ingestion with Ray")
    return require("ray", "ingestion with Ray")


def _check_sizes(workers: object, batch_size: object, cpus: object, gpus: object) -> None:
    for name, value in (("workers", 1 if workers is None else workers), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} is {value!r}: it must be an integer of at least 1.")
    for name, value in (("cpus_per_worker", cpus), ("gpus_per_worker", gpus)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ConfigError(f"{name} is {value!r}: it must be a number of at least 0.")


def _handed_over(credentials: Credentials | None, url: str) -> HandedOver | None:
    """The credentials given, or those of this process's environment, as they travel to the workers."""
    from ..stores.credentials import Credentials, HandedOver

    engine = url.partition(":")[0].partition("+")[0]
    if credentials is None and engine in ("qdrant", "opensearch"):
        credentials = Credentials.from_environment(engine)
    return None if credentials is None else HandedOver(credentials)


def _workers(ray: Any, cpus: float, gpus: float) -> int:
    there = ray.cluster_resources()
    limits = [there.get(kind, 0) / each for kind, each in (("CPU", cpus), ("GPU", gpus)) if each]
    if not limits or min(limits) < 1:
        raise ConfigError(f"the Ray cluster has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs: less than one worker needs.")
    return int(min(limits))


@contextlib.contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    """The Ray that is there, or the one at the address, or one of this machine that ends with the run."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local = {} if address else {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False, **local)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Ray Data's settings for the time of a run: a batch a table, in order, and nothing of its own on stderr but errors."""
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    options = context.execution_options
    before = context.target_max_block_size, options.preserve_order, context.enable_progress_bars, logger.level
    context.target_max_block_size, options.preserve_order, context.enable_progress_bars = BLOCK_BYTES, True, False
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"ray\.")  # its advice on its own settings
            yield
    finally:
        context.target_max_block_size, options.preserve_order, context.enable_progress_bars = before[:3]
        logger.setLevel(before[3])
