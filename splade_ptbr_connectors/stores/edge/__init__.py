"""`edge:PATH`: Qdrant's engine in this process (qdrant-edge), its data in a folder."""

from .store import EdgeStore, Repair, connect, repair

__all__ = ["EdgeStore", "Repair", "connect", "repair"]
