"""Vectors in the files of other search tools, and back: Anserini/Pyserini, CIFF, PISA, Seismic. Start at convert.py.

Every reader yields EncodedRecords in the order of the file; every writer takes them as a stream and writes whole files or none.
"""
