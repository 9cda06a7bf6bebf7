"""Texts into dense vectors by any LangChain Embeddings, checked, part by part on the disk."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from splade_ptbr_connectors.errors import ModelFormatError

Vectors = NDArray[np.float32]
PART = 4096  # texts embedded between two states on the disk


def embed_documents(model: Any, texts: Iterator[str], count: int, folder: Path, batch: int) -> list[Path]:
    """Files of up to PART vectors each, in order; those that are there already are kept.

    Args:
        texts: `count` of them.

    Raises:
        ModelFormatError: the model does not give one finite vector for each text, all of one length.
    """
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{begin:09}.npy" for begin in range(0, count, PART)]
    dimension: int | None = None
    with tqdm(total=count, desc="embed", unit=" documents", disable=None) as bar:
        for path in paths:
            part = list(itertools.islice(texts, PART))
            if not path.exists():
                save(path, np.concatenate([checked(model.embed_documents(each), len(each), dimension) for each in _batches(part, batch)]))
            dimension = int(np.load(path, mmap_mode="r", allow_pickle=False).shape[1])
            bar.update(len(part))
    return paths


def embed_queries(model: Any, texts: Sequence[str], dimension: int) -> tuple[Vectors, NDArray[np.float64]]:
    """[Q, D], one by one, as a program that searches embeds them, and the seconds that each took. Raises as embed_documents() does."""
    found, seconds = [], []
    for text in tqdm(texts, "embed", unit=" queries", disable=None):
        started = time.perf_counter()
        found.append(model.embed_query(text))
        seconds.append(time.perf_counter() - started)
    return checked(found, len(texts), dimension), np.array(seconds)


def checked(vectors: Any, count: int, dimension: int | None) -> Vectors:
    """[count, dimension] of what a model gave; None takes any dimension. Raises ModelFormatError."""
    try:
        found = np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"the embedding model gave vectors of different lengths, or no numbers ({error}).") from error
    if len(found) != count:
        raise ModelFormatError(f"the embedding model gave {len(found)} vectors for {count} texts: it must give one for each.")
    if found.ndim != 2 or dimension not in (None, found.shape[1]):
        wanted = "one vector a text" if dimension is None else f"{dimension} numbers a text, as before"
        raise ModelFormatError(f"the embedding model gave an array of shape {found.shape}: it must give {wanted}.")
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        raise ModelFormatError(f"the embedding model gave NaN or infinity for {len(wrong)} of {count} texts, first number {wrong[0]}.")
    return found


def join(parts: Iterable[Vectors], target: Path, shape: tuple[int, int]) -> None:
    """One file of this shape out of several arrays. Memory holds one at a time."""
    temporary = target.with_suffix(".new")
    joined = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
    begin = 0
    for vectors in parts:
        joined[begin : begin + len(vectors)] = vectors
        begin += len(vectors)
    joined.flush()
    temporary.replace(target)


def scaled(vectors: Vectors) -> Vectors:
    """Vectors of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit


def _batches(texts: Sequence[str], size: int) -> list[list[str]]:
    return [list(texts[begin : begin + size]) for begin in range(0, len(texts), size)]


def save(path: Path, array: NDArray[Any]) -> None:
    """Write an array, whole or not at all."""
    temporary = path.with_suffix(".new")
    with open(temporary, "wb") as file:
        np.save(file, array, allow_pickle=False)
    temporary.replace(path)
