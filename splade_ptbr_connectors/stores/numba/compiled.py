"""The one door to numba: compiles kernels that release the interpreter lock, and keeps them on disk where that is possible.

The first use of a store waits for its kernels. What numba takes for one grows faster than its length, and it compiles hundreds of
lines for each convenience: arrays, tuples of them, slices, `min()` and `max()`. So kernels are made of parts, and read memory by
address (addresses.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ...extras import require
from .addresses import from_dtype, intrinsic, types
from .kept import Kept
from .target import Dispatcher, Passes, compiler

F = TypeVar("F", bound=Callable[..., Any])
numba: Any = require("numba", "the store numba:PATH")


def compiled(function: F) -> F:
    """Compile at the first call, or load what an earlier process compiled; see kept.py.

    No fast-math: sums are taken in the order in which they are written.
    """
    kernel: Any = Dispatcher(function)
    kernel._cache = Kept(function)
    return kernel  # type: ignore[no-any-return]


def part(returns: type | None) -> Callable[[F], F]:
    """For use within kernels only: typed by itself, then compiled together with the kernel that calls it.

    A dispatcher of its own would be optimised and made into machine code once more for each kernel around it; numba's inlining
    copies all of a kernel for each call.

    Args:
        returns: np.int64, np.float64 or None.
    """

    def make(function: F) -> F:
        def call(typing_context: Any, *given: Any) -> Any:
            signature = (types.none if returns is None else from_dtype(np.dtype(returns)))(*map(types.unliteral, given))

            def generate(context: Any, builder: Any, called: Any, arguments: Any) -> Any:
                values = [context.cast(builder, *each) for each in zip(arguments, called.args, signature.args, strict=True)]
                return context.call_internal(builder, _compiled_into(context, function, signature), signature, values)

            return signature, generate

        first, own = inspect.Parameter("typing_context", inspect.Parameter.POSITIONAL_OR_KEYWORD), inspect.signature(function)
        call.__name__ = function.__name__
        call.__signature__ = own.replace(parameters=[first, *own.parameters.values()])  # type: ignore[attr-defined]
        inner: F = intrinsic(call)
        return inner

    return make


def _compiled_into(context: Any, function: Any, signature: Any) -> Any:
    """What names the function in the machine code that is being made, into which it is compiled at its first call."""
    library = context.active_code_library
    made = library.__dict__.setdefault("parts", {})
    if (function, signature) not in made:
        flags = compiler.Flags()
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        flags.error_model = "numpy"
        done = compiler.compile_extra(
            context.typing_context, context, function, signature.args, signature.return_type, flags, {}, library, Passes
        ).fndesc
        library.get_function(done.llvm_func_name).linkage = "linkonce_odr"  # left out where every call was inlined
        made[function, signature] = done
    return made[function, signature]
