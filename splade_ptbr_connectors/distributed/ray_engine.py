"""ingest_with_ray(): one process reads and checks, every core or machine of a Ray cluster encodes and uploads.

One reader, because the lines are numbered and a document id may come once only; it is far faster than an encoder.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ..errors import ConfigError, IngestError
from ..extras import require
from ..ingestion.dead_letter import DeadLetter
from ..ingestion.items import ReadyVectors
from ..ingestion.reconcile import SHOWN, Reservoir
from ..ingestion.report import Display, Hook, IngestCounts, IngestProgress, IngestReport, Reconciled, warn_without_dense
from ..sources import Source, open_source
from ..stores import engine_of, open_store
from ..validation import Positive, check, renamed
from .rows import COLUMN, Outcome, Table, batches
from .worker import Worker

if TYPE_CHECKING:
    from ..stores.base import Store
    from ..stores.credentials import Credentials, HandedOver

logger = logging.getLogger(__name__)
MAX_BATCH_DOCUMENTS = 256
SAMPLE = 64  # written documents that are read back at the end
BLOCK_BYTES = 1  # of a table: every row, which is a batch, is one of its own, and goes to the next free worker


Share = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]


def ingest_with_ray(
    records: str | Path | Source,
    store_url: str,
    model: str = "mini",
    *,
    encoder_options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    cpus_per_worker: float = 1.0,
    gpus_per_worker: float = 0.0,
    ray_address: str | None = None,
    tenant: str | None = None,
    credentials: Credentials | None = None,
    settings: Mapping[str, Any] | None = None,
    passages: Mapping[str, Any] | bool | None = None,
    dead_letter: str | Path | None = None,
    max_batch_documents: int | None = None,
    progress: Hook | bool | None = None,
    load: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
) -> IngestReport:
    """Encode the records of a file on every core or machine, and upload them to a store on a server.

    Running it again resumes it: what the store holds with the same content is neither encoded nor written.

    Args:
        records: a file, readable on this machine; the workers need not see it.
        store_url: of a store on a server. An edge store is for one process and is refused.
        model: shipped name, folder or hub id, loaded by each worker: a folder must be there on every machine.
        encoder_options: further arguments of SpladeEncoder.load, such as {"device": "cuda", "batch_size": 64}.
        workers: encoding processes; None takes as many as the cluster's CPUs (or GPUs) allow.
        cpus_per_worker, gpus_per_worker: what each of them is given.
        ray_address: a cluster to join; None takes the Ray this process is connected to, or starts one on this machine.
        credentials: of the server, handed to the workers; None takes them from this process's environment.
        passages: how a new store has long texts split; see open_store().
        dead_letter: JSONL file for rejected records, in the order of the input.
        max_batch_documents: documents that a worker takes and uploads at once, by default 256.
        load, batch_size: the earlier names of encoder_options and max_batch_documents.

    Returns: the same report as ingest(); a resumed run counts what was there as unchanged.

    Raises:
        ConfigError: an edge store, a stream as input, or a runtime that the model does not have.
        MissingExtraError: ray is not installed.
        InputFileError, ModelError, StoreError: as ingest() does; what was uploaded before stays.
    """
    started = time.monotonic()
    source = _checked_source(records)
    ray = check_ready(store_url)
    size = renamed("batch_size", batch_size, "max_batch_documents", max_batch_documents)
    batch_documents = MAX_BATCH_DOCUMENTS if size is None else size
    _check_sizes(workers, batch_documents, cpus_per_worker, gpus_per_worker)
    arguments = {"model": model, **(renamed("load", load, "encoder_options", encoder_options) or {})}
    handed = _handed_over(credentials, store_url)
    opened = partial(_open, store_url, arguments, tenant=tenant, credentials=handed, settings=dict(settings or {}))
    rejected = DeadLetter(Path(dead_letter) if dead_letter else None)
    with contextlib.closing(_Tally(rejected, Display(progress, None), started)) as tally:
        with opened(create=True, preload=False, passages=passages) as store, _cluster(ray, ray_address):
            ready = ReadyVectors(store.encoder.vocab_size, store.encoder.fingerprint, whole=store.passage_settings is None)
            reader, worker = Reader(source, ready, batch_documents), resources(ray, workers, cpus_per_worker, gpus_per_worker)
            reconciled = _load(store, outcomes(ray, reader, partial(opened, create=False), worker), tally)
    return tally.report(store.url, reconciled)


def _load(store: Store, outcomes: Iterator[Outcome], tally: _Tally) -> Reconciled:
    """Have everything uploaded, and compare what the store holds with what was told."""
    before = store.count()
    try:
        with store.loading():
            tally.add_all(outcomes)
    finally:
        warn_without_dense(store, tally.without_dense)
    store.finish_loading()
    return tally.reconcile(store, before)


def resources(ray: Any, workers: int | None, cpus: float, gpus: float) -> dict[str, Any]:
    """How many workers Ray Data runs, and what each is given."""
    size = workers or _workers(ray, cpus, gpus)
    return {"num_cpus": cpus, "num_gpus": gpus, "compute": ray.data.ActorPoolStrategy(size=size)}


def outcomes(ray: Any, reader: Reader, opened: partial[Store], worker: Mapping[str, Any]) -> Iterator[Outcome]:
    """The outcomes of all batches, in the order of the input, while later ones are still worked on."""
    here = {f"node:{ray.util.get_node_ip_address()}": 0.001}  # the input is a file of this machine
    with quiet(ray):
        # the reader takes no CPU from the workers: with all of them taken it would never begin
        read = ray.data.from_items([0]).map_batches(reader, batch_size=None, num_cpus=0, resources=here)
        done = read.map_batches(Worker, fn_constructor_args=(opened,), batch_size=1, **worker)
        for row in done.iter_rows():
            yield Outcome.from_text(row[COLUMN])


class _Tally:
    """Adds outcomes up, in the order of the input, and checks the store at the end."""

    def __init__(self, rejected: DeadLetter, display: Display, started: float) -> None:
        self.counts = IngestCounts()
        self._new = 0  # written documents that the store did not hold before
        self.without_dense = 0
        self._sample: Reservoir[tuple[str, str]] = Reservoir(SAMPLE)  # id and content hash of written documents
        self._rejected = rejected
        self._display = display
        self._started = started

    def add_all(self, outcomes: Iterable[Outcome]) -> None:
        """Add up. Raises the first error among the outcomes, after what came before it was accounted for."""
        for outcome in outcomes:
            self._add(outcome)
            counts = self.counts
            now = IngestProgress(counts.read, counts.written, counts.unchanged, counts.rejected, time.monotonic() - self._started)
            self._display.show(now)
            outcome.raise_error()

    def reconcile(self, store: Store, before: int) -> Reconciled:
        """Count what the store holds, of which there were `before` at the beginning, and read the sample back.

        Raises:
            IngestError: documents of the sample are missing.
        """
        sample = self._sample.kept
        stored = store.content_hashes([doc_id for doc_id, _ in sample])
        missing = [doc_id for doc_id, _ in sample if doc_id not in stored]
        if missing:
            shown = ", ".join(map(repr, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
            raise IngestError(
                f"{store.url} acknowledged documents that it does not hold: {shown}; was it cleared in the meantime? Run it again."
            )
        changed = sum(stored[doc_id] != content_hash for doc_id, content_hash in sample)
        expected, found = before + self._new, store.count()
        if found < expected:
            logger.warning("%s holds %d documents, %d were expected: compare with splade-ptbr verify", store.url, found, expected)
        return Reconciled(len(sample), 0, changed, expected, found, not changed and found >= expected)

    def report(self, url: str, reconciled: Reconciled) -> IngestReport:
        """The report of a run that is over, and a warning of what it rejected."""
        self._rejected.warn(self.counts.rejected, url)
        path = str(self._rejected.path) if self._rejected.path and self._rejected.length else None
        return self.counts.report(time.monotonic() - self._started, path, 0, reconciled, self._rejected.kept)

    def close(self) -> None:
        """Close the dead-letter file and the display."""
        self._rejected.close()
        self._display.close()

    def _add(self, outcome: Outcome) -> None:
        self.counts.written += outcome.written
        self.counts.unchanged += outcome.unchanged
        self._new += outcome.new
        self.without_dense += outcome.without_dense
        for _, reason, _ in outcome.rejected:
            self.counts.reject(reason)
        self._rejected.append(line for _, _, line in outcome.rejected)
        for written in outcome.sample:
            self._sample.offer((written[0], written[1]))


class Reader:
    """Reads the whole source in one task that gives tables out as it goes."""

    def __init__(self, source: Source, ready: ReadyVectors, size: int) -> None:
        self._source = source
        self._ready = ready
        self._size = size

    def __call__(self, _: object) -> Iterator[Table]:
        return batches(self._source, self._ready, self._size)


def _open(
    url: str,
    encoder_options: Mapping[str, Any],
    *,
    tenant: str | None,
    credentials: HandedOver | None,
    settings: Mapping[str, Any],
    create: bool,
    preload: bool = True,
    passages: Mapping[str, Any] | bool | None = None,
) -> Store:
    from ..encoding.encoder import SpladeEncoder

    encoder = SpladeEncoder.load(**encoder_options, preload=preload)
    taken = credentials.take() if credentials else None
    return open_store(url, encoder=encoder, create=create, tenant=tenant, credentials=taken, settings=settings, passages=passages)


def _checked_source(records: str | Path | Source) -> Source:
    source = records if isinstance(records, Source) else open_source(records)
    if source.path is None or source.identity["bytes"] is None:
        raise ConfigError(f"the input {source.name} is a stream: Ray may read it twice, so it must be a file.")
    return Source(source.name, source.path.resolve(), source.format)  # the reader may have another current folder


def check_ready(store_url: str) -> Any:
    """The module ray, if it is installed and can fill this store. Raises ConfigError and MissingExtraError."""
    if engine_of(store_url).one_process:
        raise ConfigError(
            f"{store_url} is an embedded store, which one process may use: use Ray with a store on a server, or fill this one without Ray "
            "(its encoder uses every core of this machine anyway)."
        )
    require("ray.data", "ingestion with Ray")
    return require("ray", "ingestion with Ray")


def _check_sizes(workers: object, max_batch_documents: object, cpus: object, gpus: object) -> None:
    check("workers", workers, Positive | None)
    check("max_batch_documents", max_batch_documents, Positive)
    check("cpus_per_worker", cpus, Share)
    check("gpus_per_worker", gpus, Share)


def _handed_over(credentials: Credentials | None, url: str) -> HandedOver | None:
    """The credentials given, or those of this process's environment, as they travel to the workers."""
    from ..stores.credentials import Credentials, HandedOver

    engine, on_server, _ = url.partition(":")[0].partition("+")
    if credentials is None and on_server:
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
def quiet(ray: Any) -> Iterator[None]:
    """Ray Data's settings during a run: a batch per table, in order, and nothing of its own on stderr but errors."""
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
