"""A file of records into a store: progress, records that are refused, and a run that is interrupted and goes on where it was.

    pip install .
    python examples/bulk_ingestion.py

In the shell, `splade-ptbr ingest documents.jsonl --store edge:bulk.store` does the same.
"""

from __future__ import annotations

import json
from pathlib import Path

from splade_ptbr_connectors import ingest, open_store
from splade_ptbr_connectors.ingestion.report import IngestProgress

DOCUMENTS, REJECTED = Path("documents.jsonl"), Path("rejected.jsonl")
SUBJECTS = ("o imposto de renda", "a carteira de motorista", "a matrícula na escola", "a coleta de lixo", "a vacina da gripe")


def write_documents() -> None:
    """Five hundred records, two of which no store can take: one has no text, one has the id of another."""
    records = [{"_id": str(n), "text": f"Aviso {n} sobre {SUBJECTS[n % 5]}: leve um documento com foto."} for n in range(500)]
    del records[7]["text"]
    records[23]["_id"] = "22"
    DOCUMENTS.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


def show(now: IngestProgress) -> None:
    """Called after every batch; progress=True draws a bar instead."""
    print(f"  {now.read:3} read, {now.written:3} written, {now.unchanged:3} unchanged, {now.rejected:3} rejected")


def interrupt(now: IngestProgress) -> None:
    """Stands for Ctrl-C, a kill or a power cut."""
    show(now)
    if now.written >= 100:
        raise KeyboardInterrupt


def main() -> None:
    write_documents()
    with open_store("edge:bulk.store", encoder="mini", max_batch_documents=50) as store:
        for progress in (interrupt, show):
            try:
                report = ingest(DOCUMENTS, store, checkpoint="bulk.checkpoint", dead_letter=REJECTED, progress=progress)
            except KeyboardInterrupt:
                print("interrupted: what was written stays, and the checkpoint says how far it was")
        print(f"{store.count()} documents; the last run resumed at record {report.resumed_at}")
    for line in REJECTED.read_text(encoding="utf-8").splitlines():
        rejected = json.loads(line)
        print(f"line {rejected['line']}: {rejected['reason']}")


if __name__ == "__main__":
    main()
