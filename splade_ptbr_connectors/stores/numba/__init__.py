"""`numba:PATH`: an exact inverted index of this package, compiled by numba, its data in a folder."""

from .index import ImpactIndex
from .store import NumbaSettings, NumbaStore, connect

__all__ = ["ImpactIndex", "NumbaSettings", "NumbaStore", "connect"]
