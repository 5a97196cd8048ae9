"""Formulas of a card (Delphes' DelphesFormula, ROOT's TFormula) as compiled functions of arrays.

Resolutions and efficiencies are mostly tables written as sums of `(condition)*value`. Evaluated
as written they cost hundreds of operations per track. Here every comparison of a variable (or of
its modulus) with a constant becomes a node of a decision tree, and what remains of the formula
once all of them are decided stands at the leaf: mostly a number, else a short expression that is
evaluated for all arguments of the leaf at once.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from generation.fastsim.formula_kernel import find_leaves

# Variables of DelphesFormula::Compile, and the names that TFormula itself has for them.
VARIABLES = ("pt", "eta", "phi", "energy", "d0", "dz", "ctgTheta")
ALIASES = {"x": "pt", "y": "eta", "z": "phi", "t": "energy"}

MAX_DEPTH = 60
MAX_LEAVES = 20_000

_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
    r"|(?:TMath::|std::)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<symbol><=|>=|==|!=|&&|\|\||[-+*/^()<>!,?:])"
)
_BINARY = {
    "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4,
    "+": 5, "-": 5, "*": 6, "/": 6,
}  # fmt: skip
_UNARY_PRECEDENCE = 7
_CONSTANTS = {"pi": math.pi, "e": math.e, "true": 1.0, "false": 0.0}
_OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "+": np.add,
    "*": np.multiply,
    "/": np.true_divide,
    "-": np.negative,
    "!": lambda value: (value == 0.0).astype(np.float64),
    "&&": lambda left, right: ((left != 0.0) & (right != 0.0)).astype(np.float64),
    "||": lambda left, right: ((left != 0.0) | (right != 0.0)).astype(np.float64),
    "abs": np.abs,
    "int": np.trunc,
    "sq": np.square,
    **{name: getattr(np, name) for name in ("sqrt", "exp", "log", "log10", "log2", "sign")},
    **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: getattr(np, f"arc{name[1:]}") for name in ("asin", "acos", "atan")},
    **{name: getattr(np, f"arc{name[1:]}") for name in ("asinh", "acosh", "atanh")},
    **{name: getattr(np, name) for name in ("floor", "ceil")},
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "erfc": np.vectorize(math.erfc, otypes=[np.float64]),
    "_pow": np.power,
    "_min": np.minimum,
    "_max": np.maximum,
    "_atan2": np.arctan2,
    "_hypot": np.hypot,
    "_fmod": np.fmod,
}
# Lower-case name: operation and number of arguments. TMath's Sqrt, Exp, ... are the same.
_FUNCTIONS = {
    **{name: (name, 1) for name in _OPERATIONS if name.isalnum()},
    "fabs": ("abs", 1),
    "pow": ("_pow", 2),
    "power": ("_pow", 2),
    "min": ("_min", 2),
    "max": ("_max", 2),
    "atan2": ("_atan2", 2),
    "hypot": ("_hypot", 2),
    "fmod": ("_fmod", 2),
}

# A formula is a nested tuple (operation, operand, ...). Comparisons are all of one kind:
# ("below", axis, (value, 1)) is axis <= value and (value, 0) is axis < value, so that cuts on one
# axis are ordered; an axis is ("variable", name) or ("abs", ("variable", name)).
Node = tuple

_ZERO: Node = ("number", 0.0)
_ONE: Node = ("number", 1.0)


class FormulaError(ValueError):
    """What is wrong with the text of a formula."""


class Formula:
    """A formula compiled for arrays.

    Parameters
    ----------
    text
        The formula, as in a card.
    variables
        Names that it may use.

    Attributes
    ----------
    names
        The variables that it does use.

    Raises
    ------
    FormulaError
        When the text is not a formula of these variables.
    """

    def __init__(self, text: str, variables: tuple[str, ...] = VARIABLES):
        self.text = text
        aliases = ALIASES if variables == VARIABLES else {}
        tree = _simplified(_Reader(text, variables, aliases).formula())
        self.names = tuple(name for name in variables if _uses(tree, name))
        self._tree = tree

    def __repr__(self) -> str:
        return f"Formula({' '.join(self.text.split())!r})"

    @property
    def constant(self) -> float | None:
        """The value of a formula without variables, else None."""
        return self._tree[1] if self._tree[0] == "number" else None

    @cached_property
    def program(self) -> "Program":
        """The compiled form."""
        return _Compiler(self.names).program(self._tree)

    def __call__(self, **values: np.ndarray | float) -> np.ndarray:
        """Evaluate the formula.

        Parameters
        ----------
        **values
            Arrays of one shape (or numbers), at least for the variables in `names`.

        Returns
        -------
        numpy.ndarray
            float64, of the shape of the arguments.
        """
        shape = np.broadcast_shapes(*(np.shape(value) for value in values.values()))
        if self.constant is not None:
            return np.full(shape, self.constant)
        inputs = np.empty((len(self.names), math.prod(shape)))
        for row, name in zip(inputs, self.names, strict=True):
            row.reshape(shape)[...] = values[name]
        with np.errstate(all="ignore"):
            return self.program.evaluate(inputs, self.names).reshape(shape)


@dataclass(frozen=True)
class Program:
    """A formula as a decision tree with numbers and expressions at its leaves.

    Attributes
    ----------
    root
        Index of the first branch, or -1 - number of the only leaf.
    axis
        (branches,) int32: twice the row of the variable to compare, plus one for its modulus.
    cut
        (branches,) float64: the smallest value of the upper side.
    target
        (2 * branches,) int32: where to go below and above each cut, in the form of `root`.
    constants
        (leaves,) float64: the value at each leaf that has one.
    expressions
        What stands at the other leaves, by number.
    """

    root: int
    axis: np.ndarray
    cut: np.ndarray
    target: np.ndarray
    constants: np.ndarray
    expressions: dict[int, Node]

    def evaluate(self, inputs: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return the value for each column of `inputs`, whose rows are the variables `names`."""
        if self.root < 0 and self.expressions:
            return _value(self.expressions[0], dict(zip(names, inputs, strict=True)))
        leaf = np.empty(inputs.shape[1], np.int32)
        find_leaves(self.root, self.axis, self.cut, self.target, inputs, leaf)
        result = self.constants[leaf]
        for number, expression in self.expressions.items():
            here = np.flatnonzero(leaf == number)
            if len(here):
                arguments = dict(zip(names, inputs[:, here], strict=True))
                result[here] = _value(expression, arguments)
        return result


def _value(node: Node, arguments: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the value of a formula for arrays of its variables."""
    kind = node[0]
    if kind == "number":
        return np.asarray(node[1], dtype=np.float64)
    if kind == "variable":
        return arguments[node[1]]
    if kind == "below":
        value, (cut, including) = _value(node[1], arguments), node[2]
        return (value <= cut if including else value < cut).astype(np.float64)
    if kind == "_pow" and node[2] == ("number", 2.0):
        return np.square(_value(node[1], arguments))
    operands = [_value(operand, arguments) for operand in node[1:]]
    if kind in _COMPARE:
        return _COMPARE[kind](*operands).astype(np.float64)
    if len(operands) == 1:
        return _OPERATIONS[kind](operands[0])
    return reduce(_OPERATIONS[kind], operands)


def keyed_formulas(pairs: list[str], variables: tuple[str, ...] = VARIABLES) -> dict[int, Formula]:
    """Return the formulas of a parameter that lists PDG codes and formulas in turn."""
    if len(pairs) % 2:
        raise FormulaError("has a code without a formula")
    try:
        codes = [int(code) for code in pairs[::2]]
    except ValueError:
        raise FormulaError("has a code that is not an integer") from None
    return {code: Formula(text, variables) for code, text in zip(codes, pairs[1::2], strict=True)}


class _Reader:
    """Recursive descent with the precedence of C++, and TFormula's power."""

    def __init__(self, text: str, variables: tuple[str, ...], aliases: Mapping[str, str]):
        # DelphesFormula::Compile drops white space and backslashes before it reads; TFormula
        # takes Fortran's power for its own.
        self.text = re.sub(r"[\s\\]", "", text).replace("**", "^")
        self.variables = variables
        self.aliases = aliases
        self.depth = 0
        self.tokens = []
        position = 0
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            if match is None:
                raise FormulaError(f"has '{self.text[position : position + 20]}' in it")
            kind = str(match.lastgroup)  # one of the three always matches
            self.tokens.append((kind, match[kind]))
            position = match.end()
        self.tokens.append(("end", "its end"))
        self.next = 0

    def formula(self) -> Node:
        tree = self.expression()
        if self.tokens[self.next][0] != "end":
            raise FormulaError(f"has '{self.tokens[self.next][1]}' where an operator should be")
        return tree

    def expression(self) -> Node:
        condition = self.binary(1)
        if not self.accept("?"):
            return condition
        chosen = self.expression()
        self.require(":")
        other = self.expression()
        holds = ("!", ("!", condition))
        return ("+", ("*", holds, chosen), ("*", ("!", condition), other))

    def binary(self, lowest: int) -> Node:
        left = self.unary()
        while (precedence := _BINARY.get(self.symbol(), 0)) >= lowest:
            symbol = self.symbol()
            self.next += 1
            left = _joined(symbol, left, self.binary(precedence + 1))
        return left

    def unary(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise FormulaError(f"is nested more than {MAX_DEPTH} deep")
        operand = self.signed()
        self.depth -= 1
        return operand

    def signed(self) -> Node:
        symbol = self.symbol()
        if symbol in ("-", "+", "!"):
            self.next += 1
            operand = self.binary(_UNARY_PRECEDENCE)
            return operand if symbol == "+" else (symbol, operand)
        base = self.primary()
        # Right-associative, and closer than a sign on its left: -pt^2 is -(pt^2).
        return ("_pow", base, self.unary()) if self.accept("^") else base

    def primary(self) -> Node:
        kind, word = self.tokens[self.next]
        self.next += 1
        if kind == "number":
            return ("number", float(word))
        if kind == "name":
            return self.named(word)
        if word == "(":
            inner = self.expression()
            self.require(")")
            return inner
        raise FormulaError(f"has '{word}' where a value should be")

    def named(self, name: str) -> Node:
        if self.symbol() == "(":
            return self.call(name)
        name = self.aliases.get(name, name)
        if name in self.variables:
            return ("variable", name)
        if name.lower() in _CONSTANTS:
            return ("number", _CONSTANTS[name.lower()])
        raise FormulaError(f"has '{name}', which is no variable; {', '.join(self.variables)} are")

    def call(self, name: str) -> Node:
        self.next += 1
        arguments = []
        if not self.accept(")"):
            arguments.append(self.expression())
            while self.accept(","):
                arguments.append(self.expression())
            self.require(")")
        if name.lower() == "pi" and not arguments:
            return ("number", math.pi)
        operation, count = _FUNCTIONS.get(name.lower(), (None, 0))
        if operation is None:
            raise FormulaError(f"has '{name}', which is no function")
        if len(arguments) != count:
            raise FormulaError(f"gives {len(arguments)} arguments to '{name}', not {count}")
        return (operation, *arguments)

    def symbol(self) -> str:
        kind, token = self.tokens[self.next]
        return token if kind == "symbol" else ""

    def accept(self, symbol: str) -> bool:
        found = self.symbol() == symbol
        self.next += found
        return found

    def require(self, symbol: str) -> None:
        if not self.accept(symbol):
            raise FormulaError(f"has '{self.tokens[self.next][1]}' where '{symbol}' should be")


def _joined(symbol: str, left: Node, right: Node) -> Node:
    """Return `left symbol right`; sums, products and conjunctions take any number of operands."""
    if symbol == "-":
        symbol, right = "+", ("-", right)
    if symbol in ("+", "*", "&&", "||"):
        return (*left, right) if left[0] == symbol else (symbol, left, right)
    return (symbol, left, right)


def _is_axis(node: Node) -> bool:
    return node[0] == "variable" or (node[0] == "abs" and node[1][0] == "variable")


def _comparison(symbol: str, left: Node, right: Node) -> Node:
    """Return a comparison, in terms of `below` when it is one of an axis with a constant."""
    if left[0] == "number" and right[0] == "number":
        return _ONE if _COMPARE[symbol](left[1], right[1]) else _ZERO
    if _is_axis(right) and left[0] == "number":
        mirrored = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
        left, right, symbol = right, left, mirrored.get(symbol, symbol)
    if not (_is_axis(left) and right[0] == "number"):
        return (symbol, left, right)
    at, under = ("below", left, (right[1], 1)), ("below", left, (right[1], 0))
    return {
        "<": under,
        "<=": at,
        ">": ("!", at),
        ">=": ("!", under),
        "==": ("&&", at, ("!", under)),
        "!=": ("||", under, ("!", at)),
    }[symbol]


_COMPARE = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


def _simplified(node: Node, bounds: Mapping[Node, tuple] | None = None) -> Node:
    """Fold constants, given for each axis the cuts that it is known to be above and below."""
    kind = node[0]
    if kind in ("number", "variable"):
        return node
    if kind == "below":
        above, below = (bounds or {}).get(node[1], (None, None))
        if below is not None and node[2] >= below:
            return _ONE
        return _ZERO if above is not None and node[2] <= above else node
    operands = []
    for operand in node[1:]:
        simple = _simplified(operand, bounds)
        # A factor of zero decides a product, whatever the others are.
        if simple == _ZERO and kind in ("*", "&&"):
            return _ZERO
        operands.append(simple)
    if kind in _COMPARE:
        return _comparison(kind, *operands)
    if kind in _ASSOCIATIVE:
        return _ASSOCIATIVE[kind](operands)
    if all(operand[0] == "number" for operand in operands):
        return _folded(kind, operands)
    if kind == "!" and operands[0][0] == "!" and _is_boolean(operands[0][1]):
        return operands[0][1]
    return (kind, *operands)


def _sum(operands: list[Node]) -> Node:
    terms = [operand for operand in operands if operand != _ZERO]
    if all(term[0] == "number" for term in terms):
        return ("number", float(sum(term[1] for term in terms)))
    return terms[0] if len(terms) == 1 else ("+", *terms)


def _product(operands: list[Node]) -> Node:
    number = math.prod(operand[1] for operand in operands if operand[0] == "number")
    factors = [operand for operand in operands if operand[0] != "number"]
    if not factors or number == 0:
        return ("number", float(number))
    if number != 1:
        factors.append(("number", float(number)))
    return factors[0] if len(factors) == 1 else ("*", *factors)


def _conjunction(operands: list[Node]) -> Node:
    rest = [operand for operand in operands if operand[0] != "number"]
    if not rest:
        return _ONE
    return _truth(rest[0]) if len(rest) == 1 else ("&&", *rest)


def _disjunction(operands: list[Node]) -> Node:
    if any(operand[0] == "number" and operand[1] != 0 for operand in operands):
        return _ONE
    rest = [operand for operand in operands if operand[0] != "number"]
    if not rest:
        return _ZERO
    return _truth(rest[0]) if len(rest) == 1 else ("||", *rest)


_ASSOCIATIVE = {"+": _sum, "*": _product, "&&": _conjunction, "||": _disjunction}


def _is_boolean(node: Node) -> bool:
    return node[0] in _COMPARE or node[0] in ("below", "!", "&&", "||")


def _truth(node: Node) -> Node:
    return node if _is_boolean(node) else ("!", ("!", node))


def _folded(kind: str, operands: list[Node]) -> Node:
    """Return an operation on numbers as a number."""
    with np.errstate(all="ignore"):
        return ("number", float(_value((kind, *operands), {})))


def _uses(node: Node, name: str) -> bool:
    if node[0] == "variable":
        return node[1] == name
    if node[0] == "below":
        return _uses(node[1], name)
    return node[0] != "number" and any(_uses(operand, name) for operand in node[1:])


def _cuts(node: Node, found: dict[Node, set]) -> None:
    if node[0] == "below":
        found.setdefault(node[1], set()).add(node[2])
    elif node[0] not in ("number", "variable"):
        for operand in node[1:]:
            _cuts(operand, found)


class _TooManyLeavesError(Exception):
    pass


class _Compiler:
    """Turns a formula into a decision tree."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names

    def program(self, tree: Node) -> Program:
        self._start()
        try:
            root = self._branch(tree, {})
        except _TooManyLeavesError:
            # Comparisons are then computed like any other operation.
            self._start()
            root = self._leaf(tree)
        axes, cuts, targets = zip(*self.branches, strict=True) if self.branches else ((), (), ())
        expressions = {number: leaf for leaf, number in self.leaves.items() if leaf[0] != "number"}
        return Program(
            root=root,
            axis=np.array(axes, dtype=np.int32),
            cut=np.array(
                [np.nextafter(value, np.inf) if on else value for value, on in cuts], np.float64
            ),
            target=np.array(targets, dtype=np.int32).ravel(),
            constants=np.array(
                [leaf[1] if leaf[0] == "number" else np.nan for leaf in self.leaves], np.float64
            ),
            expressions=expressions,
        )

    def _start(self) -> None:
        self.branches: list[tuple[int, tuple, tuple[int, int]]] = []
        self.leaves: dict[Node, int] = {}

    def _branch(self, tree: Node, bounds: dict[Node, tuple]) -> int:
        """Return the index of a branch, or minus one minus the number of a leaf."""
        found: dict[Node, set] = {}
        _cuts(tree, found)
        if not found:
            return self._leaf(tree)
        axis = max(found, key=lambda candidate: len(found[candidate]))
        cuts = sorted(found[axis])
        cut = cuts[len(cuts) // 2]
        above, below = bounds.get(axis, (None, None))
        lower = {**bounds, axis: (above, cut)}
        upper = {**bounds, axis: (cut, below)}
        targets = (
            self._branch(_simplified(tree, lower), lower),
            self._branch(_simplified(tree, upper), upper),
        )
        if targets[0] == targets[1]:
            return targets[0]
        if len(self.branches) == MAX_LEAVES:
            raise _TooManyLeavesError
        self.branches.append((self._axis(axis), cut, targets))
        return len(self.branches) - 1

    def _axis(self, axis: Node) -> int:
        """Return twice the row of the axis' variable, plus one for its modulus."""
        if axis[0] == "abs":
            return 2 * self.names.index(axis[1][1]) + 1
        return 2 * self.names.index(axis[1])

    def _leaf(self, tree: Node) -> int:
        return -1 - self.leaves.setdefault(tree, len(self.leaves))
