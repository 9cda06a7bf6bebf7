"""Ingestion: records in, documents in a store, and a report that accounts for every record. See engine.ingest()."""
