"""The kernel that walks the decision trees of formulas; it is cached on disk, formulas are data."""

from generation.fastsim.kernels import kernel


@kernel()
def find_leaves(root, axis, cut, target, inputs, leaves):
    """Fill in the number of the leaf that each column of `inputs` ends at.

    Parameters
    ----------
    root, axis, cut, target
        The tree; see `generation.fastsim.formula.Program`.
    inputs
        (variables, n) float64.
    leaves
        (n,) int32, to be filled.
    """
    for column in range(len(leaves)):
        node = root
        while node >= 0:
            row = axis[node]
            value = inputs[row >> 1, column]
            if row & 1:
                value = abs(value)
            # The side is an index, not a condition, because no processor can foresee it.
            node = target[2 * node + (value >= cut[node])]
        leaves[column] = -1 - node
