"""The life of a store: used while it is open, closed once, copied and pickled by how it was opened."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..errors import StoreClosedError
from .engine_methods import EngineMethods

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder
    from .settings import OpenOptions


class Handle(EngineMethods):
    """An open store.

    A copy of it, and one unpickled where it is open, is the same store; elsewhere unpickling opens it anew (pickles.py).
    """

    url: str
    encoder: Encoder
    _closed = False
    _options: OpenOptions | None = None  # what open_store() was given

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    def close(self) -> None:
        """Release the engine. Closing twice is not an error; any other use afterwards is a StoreClosedError."""
        if not self._closed:
            self._closed = True
            self._close()

    async def aclose(self) -> None:
        """close() without blocking the event loop; of a server's store also the asynchronous client of this loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, model={self.encoder.name!r}{', closed' if self._closed else ''})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        from .pickles import pickled

        return pickled(self.url, self._options)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError(f"the store {self.url} is closed: open it again with open_store().")
