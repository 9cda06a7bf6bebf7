"""Everything that an error can tell whoever looks at it: its message, its fields, and all that it is chained to."""

from __future__ import annotations

import traceback


def told(error: BaseException) -> str:
    """Messages, representations and fields of an error, of its causes and contexts (suppressed ones too), and the traceback."""
    texts, seen, waiting = traceback.format_exception(error), set(), [error]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            texts += [str(one), repr(one), repr(vars(one))]
            waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
    return "\n".join(texts)
