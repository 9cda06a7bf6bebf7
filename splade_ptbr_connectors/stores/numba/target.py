"""What kernels are compiled with: a target of their own, with the part of numba that they need.

Before it compiles a function, or finds one that is compiled, numba loads all that it can compile, such as lists, strings and linear
algebra, and scipy where that is installed; then it looks for closures and array expressions that it could rewrite. Kernels have none
of these. `python -m benchmarks first-use` measures what that saves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...extras import require


def _numba(module: str) -> Any:
    return require(f"numba.{module}", "the store numba:PATH")


compiler: Any = _numba("core.compiler")
cpu: Any = _numba("core.cpu")
dispatcher: Any = _numba("core.dispatcher")
extension: Any = _numba("core.target_extension")
machinery: Any = _numba("core.compiler_machinery")
registry: Any = _numba("core.registry")
typed: Any = _numba("core.typed_passes")
typing: Any = _numba("core.typing")
untyped: Any = _numba("core.untyped_passes")
NAME = "splade_ptbr_connectors"
OPTIONS = {"nopython": True, "nogil": True, "boundscheck": False, "error_model": "numpy", "no_cfunc_wrapper": True}
_PASSES = (
    untyped.TranslateByteCode,
    untyped.FixupArgs,
    untyped.IRProcessing,
    untyped.DeadBranchPrune,  # of arguments that are None
    untyped.ReconstructSSA,
    typed.NopythonTypeInference,
    typed.PreLowerStripPhis,
    typed.IRLegalization,
    typed.AnnotateTypes,
    typed.NativeLowering,
    typed.NoPythonBackend,
)


class Passes(compiler.CompilerBase):  # type: ignore[misc]
    """From bytecode to machine code."""

    def define_pipelines(self) -> list[Any]:
        passes = machinery.PassManager(NAME)
        for one in _PASSES:
            passes.add_pass(one, one.__name__)
        passes.finalize()
        return [passes]


class _Types(typing.Context):  # type: ignore[misc]
    """Which operations there are on which types."""

    def load_additional_registries(self) -> None:
        for module in ("mathdecl", "npydecl"):
            self.install_registry(_numba(f"core.typing.{module}").registry)


class _Code(cpu.CPUContext):  # type: ignore[misc]
    """The code of each operation."""

    _refreshing = False

    def load_additional_registries(self) -> None:
        _numba("core.runtime").rtsys.initialize(self)  # for arrays as arguments
        for module in ("cpython.builtins", "cpython.numbers", "cpython.rangeobj", "cpython.tupleobj", "np.arrayobj"):
            _numba(module)  # they register themselves
        for module in ("cpython.mathimpl", "np.npyimpl"):
            self.install_registry(_numba(module).registry)

    def refresh(self) -> None:
        """Take in what was declared meanwhile. Each declaration asks for it again, which is left out."""
        if self._refreshing:
            return
        self._refreshing = True
        try:
            with extension.target_override(NAME):  # otherwise numba refreshes its own target, with all that it loads
                super().refresh()
        finally:
            self._refreshing = False


class _Target(registry.CPUTarget):  # type: ignore[misc]
    @functools.cached_property
    def _toplevel_target_context(self) -> Any:
        return _Code(self.typing_context, NAME)

    @functools.cached_property
    def _toplevel_typing_context(self) -> Any:
        return _Types()


class Kernels(extension.CPU):  # type: ignore[misc]
    """By which numba finds the target."""


class Dispatcher(dispatcher.Dispatcher):  # type: ignore[misc]
    """A function that is compiled at its first call, for the types of its arguments."""

    targetdescr = _Target(NAME)

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, targetoptions=OPTIONS.copy(), pipeline_class=Passes)


extension.target_registry[NAME] = Kernels
extension.dispatcher_registry[Kernels] = Dispatcher
extension.jit_registry[Kernels] = lambda **options: Dispatcher
