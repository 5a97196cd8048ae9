"""How kernels are compiled: kept on disk, and without what nobody uses.

Compilation is most of a first start. Entry points for C, entry points for Python where only other
kernels call, and checks of divisions take a good part of it; so would arrays that kernels make
themselves, which is why they get them from outside.
"""

import functools

import numba

# A function that Python calls.
kernel = functools.partial(numba.njit, cache=True, error_model="numpy", no_cfunc_wrapper=True)

# A function that only kernels call.
device = functools.partial(kernel, no_cpython_wrapper=True)
