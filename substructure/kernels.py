"""How kernels are compiled: kept on disk, and without what nobody uses.

Entry points for C, entry points for Python where only other kernels call, and checks of divisions
take a good part of a compilation; so would arrays that kernels make themselves, which is why they
get them from outside.
"""

import functools

import numba

# A function that Python calls.
kernel = functools.partial(numba.njit, cache=True, error_model="numpy", no_cfunc_wrapper=True)

# A function that only kernels call, and compile as a part of themselves.
inlined = functools.partial(kernel, inline="always")
