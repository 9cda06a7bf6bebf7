"""`edge:PATH`: Qdrant's engine in this process (qdrant-edge), its data in a folder."""

from .opening import Repair, connect, repair
from .store import EdgeStore

__all__ = ["EdgeStore", "Repair", "connect", "repair"]
