"""How the detector's kernels are compiled, which is most of a first start: as `substructure`'s.

Besides, numba is kept from what it would do for packages that nothing here hands to it, and
Python's garbage collector from looking through what the compiler makes.
"""

import gc

from numba.core import entrypoints, event

from substructure.kernels import inlined, kernel

__all__ = ["inlined", "kernel"]

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
