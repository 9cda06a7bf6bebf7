"""Measuring retrieval: judgments and runs as files, measures by ir-measures, stemmed Portuguese BM25 to compare with."""
