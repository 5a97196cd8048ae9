"""How kernels are compiled: kept on disk, and without what nobody uses.

Compilation is most of a first start. Entry points for C, entry points for Python where only other
kernels call, and checks of divisions take a good part of it; so would arrays that kernels make
themselves, which is why they get them from outside.
"""

import functools
import gc

import numba
from numba.core import entrypoints, event

# Kernels take arrays of numpy alone. Numba would import what teaches it the arrays of other
# packages (awkward, vector, and sympy with them) before it compiles or loads the first kernel, and
# has no public way to say no. Whoever hands it such arrays in the same process, which nothing here
# does, calls their own `register` functions.
entrypoints._already_initialized = True


class _CollectorPause(event.Listener):
    """Keeps Python's cyclic garbage collector out of compilations.

    A compiler makes many objects that live on; looking through all of them again and again takes
    the collector a seventh of a first start.
    """

    def __init__(self) -> None:
        self._running = 0  # one compilation may ask for another
        self._was_enabled = False

    def on_start(self, event: event.Event) -> None:
        if self._running == 0:
            self._was_enabled = gc.isenabled()
            gc.disable()
        self._running += 1

    def on_end(self, event: event.Event) -> None:
        self._running -= 1
        if self._running == 0 and self._was_enabled:
            gc.enable()


event.register("numba:compile", _CollectorPause())

# A function that Python calls.
kernel = functools.partial(numba.njit, cache=True, error_model="numpy", no_cfunc_wrapper=True)

# A function that only kernels call, and compile as a part of themselves.
inlined = functools.partial(kernel, inline="always")
