"""Formulas of correction files, a part of ROOT's TFormula, as functions over arrays.

The text is parsed as an expression of Python, and only what is listed here is accepted; nothing of
it is ever executed as Python.
"""

import ast
import re
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import erf

VARIABLES = ("x", "y", "z", "t")
# Longer texts than any correction has could exhaust the parser.
LONGEST = 5_000

Formula = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], np.ndarray]

_FUNCTIONS: dict[str, tuple[int, Callable]] = {
    "log": (1, np.log),
    "log10": (1, np.log10),
    "exp": (1, np.exp),
    "sqrt": (1, np.sqrt),
    "abs": (1, np.abs),
    "fabs": (1, np.abs),
    "tanh": (1, np.tanh),
    "atan": (1, np.arctan),
    "erf": (1, erf),
    "pow": (2, np.power),
    "max": (2, np.maximum),
    "min": (2, np.minimum),
}
_OPERATORS: dict[type, Callable] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
}


def compile_formula(text: str, n_variables: int, n_parameters: int) -> Formula:
    """Turn a formula into a function of its variables and parameters.

    Parameters
    ----------
    text
        Like ``max(0.0001,[0]+[1]*log10(x))``: `x`, `y`, `z`, `t` are variables, `[0]`, `[1]`, ...
        are parameters. Known are `+ - * / ^ **`, comparisons (1 where they hold, else 0), `&& ||`,
        and log, log10, exp, sqrt, abs, tanh, atan, erf, pow, max and min, also as ``TMath::Log``.
    n_variables, n_parameters
        How many there are.

    Returns
    -------
    Callable
        Takes two sequences of arrays, variables and parameters, that broadcast; returns float64.

    Raises
    ------
    ValueError
        When the text is no formula of this kind; the message says what is wrong.
    """
    if len(text) > LONGEST:
        raise ValueError(f"a formula of {len(text)} characters; at most {LONGEST} are read")
    if "\\" in text or "\n" in text or "#" in text:
        raise ValueError("a formula with characters that have no meaning in it")
    expression = text.replace("^", "**").replace("&&", " and ").replace("||", " or ")
    expression = re.sub(r"TMath::(\w+)", lambda match: match[1].lower(), expression)
    expression = re.sub(r"(?<![\w\])])\[(\d+)\]", r"parameter[\1]", expression)
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        evaluate = _compile(tree.body, n_variables, n_parameters)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a formula ({type(error).__name__})") from None

    def formula(variables: Sequence[np.ndarray], parameters: Sequence[np.ndarray]) -> np.ndarray:
        # What the other side of a comparison gives outside of its range is multiplied by 0.
        with np.errstate(all="ignore"):
            return np.asarray(evaluate(variables, parameters), np.float64)

    return formula


def _compile(node: ast.AST, n_variables: int, n_parameters: int) -> Callable:
    def inner(child: ast.AST) -> Callable:
        return _compile(child, n_variables, n_parameters)

    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return lambda variables, parameters: np.float64(value)
        case ast.Name(id=name) if name in VARIABLES[:n_variables]:
            place = VARIABLES.index(name)
            return lambda variables, parameters: variables[place]
        case ast.Subscript(
            value=ast.Name(id="parameter"), slice=ast.Constant(value=int() as number)
        ):
            if number >= n_parameters:
                raise ValueError(f"parameter [{number}] of {n_parameters}")
            return lambda variables, parameters: parameters[number]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            negated = inner(operand)
            return lambda variables, parameters: -negated(variables, parameters)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return inner(operand)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _apply(_OPERATORS[type(operator)], inner(left), inner(right))
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if (
            type(operator) in _OPERATORS
        ):
            return _apply(_OPERATORS[type(operator)], inner(left), inner(right))
        case ast.BoolOp(op=operator, values=values):
            result = inner(values[0])
            for operand in values[1:]:
                result = _apply(_OPERATORS[type(operator)], result, inner(operand))
            return result
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            n_arguments, function = _FUNCTIONS[name]
            if len(arguments) != n_arguments:
                raise ValueError(f"{name} of {len(arguments)} arguments; it takes {n_arguments}")
            return _apply(function, *(inner(argument) for argument in arguments))
    raise ValueError(f"{ast.unparse(node)!r} is not known")


def _apply(function: Callable, *arguments: Callable) -> Callable:
    def evaluate(variables: Sequence[np.ndarray], parameters: Sequence[np.ndarray]) -> np.ndarray:
        values = [np.float64(argument(variables, parameters)) for argument in arguments]
        return np.asarray(function(*values), np.float64)

    return evaluate
