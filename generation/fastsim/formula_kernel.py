"""The machine that runs compiled formulas; its kernels are cached on disk, formulas are data."""

import math
from typing import NamedTuple

import numba
import numpy as np

STACK_SIZE = 32


class Program(NamedTuple):
    """A formula as a decision tree with instructions at its leaves.

    Attributes
    ----------
    root
        Index of the first branch, or -1 - position of the code of the only leaf.
    axis
        (branches,) int32: twice the row of the variable to compare, plus one for its modulus.
    cut
        (branches,) float64: the smallest value of the upper side.
    target
        (2 * branches,) int32: where to go below and above each cut, in the form of `root`.
    code, operand
        (instructions,): what to do, with a constant or the row of a variable.
    """

    root: int
    axis: np.ndarray
    cut: np.ndarray
    target: np.ndarray
    code: np.ndarray
    operand: np.ndarray


# The order groups what the ranges below unpack.
_OPERATIONS = (
    *("_return", "_constant", "_variable"),
    *("_negate", "!", "abs", "sqrt", "exp", "log", "log10"),
    *("sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("erf", "erfc", "floor", "ceil", "int", "sign", "sq", "log2"),
    *("+", "*", "/", "_pow", "<", "<=", ">", ">=", "==", "!=", "&&", "||"),
    *("_min", "_max", "_atan2", "_hypot", "_fmod"),
)
OPERATION_CODES = {name: code for code, name in enumerate(_OPERATIONS)}

RETURN = OPERATION_CODES["_return"]
PUSH_CONSTANT = OPERATION_CODES["_constant"]
PUSH_VARIABLE = OPERATION_CODES["_variable"]
SQUARE = OPERATION_CODES["sq"]
FIRST_BINARY = OPERATION_CODES["+"]

(_NEGATE, _NOT, _ABS, _SQRT, _EXP, _LOG, _LOG10, _SIN, _COS, _TAN, _ASIN, _ACOS, _ATAN) = range(
    OPERATION_CODES["_negate"], OPERATION_CODES["atan"] + 1
)
(_SINH, _COSH, _TANH, _ASINH, _ACOSH, _ATANH, _ERF, _ERFC, _FLOOR, _CEIL, _INT, _SIGN) = range(
    OPERATION_CODES["sinh"], OPERATION_CODES["sign"] + 1
)
(_ADD, _MULTIPLY, _DIVIDE, _POW, _LT, _LE, _GT, _GE, _EQ, _NE, _AND, _OR) = range(
    OPERATION_CODES["+"], OPERATION_CODES["||"] + 1
)
(_MIN, _MAX, _ATAN2, _HYPOT) = range(OPERATION_CODES["_min"], OPERATION_CODES["_hypot"] + 1)


@numba.njit(cache=True, error_model="numpy")
def _unary(code, value):
    """Apply an operation with one operand."""
    if code == SQUARE:
        return value * value
    if code == _NEGATE:
        return -value
    if code == _NOT:
        return 1.0 if value == 0.0 else 0.0
    if code == _ABS:
        return abs(value)
    if code == _SQRT:
        return math.sqrt(value)
    if code == _EXP:
        return math.exp(value)
    if code == _LOG:
        return math.log(value)
    if code == _LOG10:
        return math.log10(value)
    if code == _SIN:
        return math.sin(value)
    if code == _COS:
        return math.cos(value)
    if code == _TAN:
        return math.tan(value)
    if code == _ASIN:
        return math.asin(value)
    if code == _ACOS:
        return math.acos(value)
    if code == _ATAN:
        return math.atan(value)
    if code == _SINH:
        return math.sinh(value)
    if code == _COSH:
        return math.cosh(value)
    if code == _TANH:
        return math.tanh(value)
    if code == _ERF:
        return math.erf(value)
    if code == _ERFC:
        return math.erfc(value)
    if code == _FLOOR:
        return np.floor(value)
    if code == _CEIL:
        return np.ceil(value)
    if code == _INT:
        return np.trunc(value)
    if code == _SIGN:
        return np.sign(value)
    if code == _ASINH:
        return math.asinh(value)
    if code == _ACOSH:
        return math.acosh(value)
    if code == _ATANH:
        return math.atanh(value)
    return np.log2(value)


@numba.njit(cache=True, error_model="numpy")
def _binary(code, left, right):
    """Apply an operation with two operands; truth is 1, as in C++."""
    if code == _ADD:
        return left + right
    if code == _MULTIPLY:
        return left * right
    if code == _DIVIDE:
        return left / right
    if code == _POW:
        return left**right
    if code == _LT:
        return 1.0 if left < right else 0.0
    if code == _LE:
        return 1.0 if left <= right else 0.0
    if code == _GT:
        return 1.0 if left > right else 0.0
    if code == _GE:
        return 1.0 if left >= right else 0.0
    if code == _EQ:
        return 1.0 if left == right else 0.0
    if code == _NE:
        return 1.0 if left != right else 0.0
    if code == _AND:
        return 1.0 if left != 0.0 and right != 0.0 else 0.0
    if code == _OR:
        return 1.0 if left != 0.0 or right != 0.0 else 0.0
    if code == _MIN:
        return min(left, right)
    if code == _MAX:
        return max(left, right)
    if code == _ATAN2:
        return math.atan2(left, right)
    if code == _HYPOT:
        return math.hypot(left, right)
    return np.fmod(left, right)


@numba.njit(cache=True, error_model="numpy")
def evaluate_one(program, inputs, column, stack):
    """Evaluate a formula for one column of `inputs`.

    Parameters
    ----------
    program
        The `Program`.
    inputs
        (variables, n) float64, the rows in the order of `Formula.names`.
    column
        Which of the n.
    stack
        (STACK_SIZE,) float64, overwritten.

    Returns
    -------
    float
        The value.
    """
    node = program.root
    while node >= 0:
        axis = program.axis[node]
        value = inputs[axis >> 1, column]
        if axis & 1:
            value = abs(value)
        # The side is an index, not a condition, because no processor can foresee it.
        node = program.target[2 * node + (value >= program.cut[node])]
    position = -1 - node
    height = 0
    while True:
        code = program.code[position]
        if code == RETURN:
            return stack[0]
        if code == PUSH_CONSTANT:
            stack[height] = program.operand[position]
            height += 1
        elif code == PUSH_VARIABLE:
            stack[height] = inputs[int(program.operand[position]), column]
            height += 1
        elif code < FIRST_BINARY:
            stack[height - 1] = _unary(code, stack[height - 1])
        else:
            height -= 1
            stack[height - 1] = _binary(code, stack[height - 1], stack[height])
        position += 1


@numba.njit(cache=True, error_model="numpy")
def evaluate(program, inputs):
    """Evaluate a formula for every column of `inputs` ((variables, n) float64)."""
    result = np.empty(inputs.shape[1])
    stack = np.empty(STACK_SIZE)
    for column in range(len(result)):
        result[column] = evaluate_one(program, inputs, column, stack)
    return result
