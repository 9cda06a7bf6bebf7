"""`edge:PATH`: Qdrant's engine in this process (qdrant-edge), its data in a folder."""

from .recovery import Repair, repair
from .store import EdgeStore, connect

__all__ = ["EdgeStore", "Repair", "connect", "repair"]
