"""Formulas of a card (Delphes' DelphesFormula, ROOT's TFormula) as compiled functions of arrays.

Resolutions and efficiencies are mostly tables written as sums of `(condition)*value`. Evaluated
as written they cost hundreds of operations per track. Here every comparison of a variable (or of
its modulus) with a constant becomes a node of a decision tree, and what remains of the formula
once all of them are decided becomes a few instructions at the leaf.
"""

import math
import re
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from generation.fastsim.formula_kernel import (
    OPERATION_CODES,
    PUSH_CONSTANT,
    PUSH_VARIABLE,
    SQUARE,
    STACK_SIZE,
    Program,
    evaluate,
)

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
# Lower-case name: operation and number of arguments. TMath's Sqrt, Exp, ... are the same.
_FUNCTIONS = {
    **{name: (name, 1) for name in OPERATION_CODES if not name.startswith("_")},
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
    def program(self) -> Program:
        """The compiled form, for `formula_kernel.evaluate_one` within other kernels."""
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
        return evaluate(self.program, inputs).reshape(shape)


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
        # DelphesFormula::Compile drops white space and backslashes before it reads.
        self.text = re.sub(r"[\s\\]", "", text)
        self.variables = variables
        self.aliases = aliases
        self.depth = 0
        self.tokens = []
        position = 0
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            if match is None:
                raise FormulaError(f"has '{self.text[position : position + 20]}' in it")
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
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
    "<": float.__lt__,
    "<=": float.__le__,
    ">": float.__gt__,
    ">=": float.__ge__,
    "==": float.__eq__,
    "!=": float.__ne__,
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
    inputs = np.array([[operand[1]] for operand in operands])
    variables = tuple(("variable", str(index)) for index in range(len(operands)))
    compiler = _Compiler(tuple(name for _, name in variables))
    return ("number", float(evaluate(compiler.program((kind, *variables)), inputs)[0]))


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
    """Turns a formula into a decision tree and instructions for a stack."""

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
        return Program(
            root=root,
            axis=np.array(axes, dtype=np.int32),
            cut=np.array([np.nextafter(value, np.inf) if on else value for value, on in cuts]),
            target=np.array(targets, dtype=np.int32).ravel(),
            code=np.array([code for code, _ in self.code], dtype=np.int32),
            operand=np.array([operand for _, operand in self.code], dtype=np.float64),
        )

    def _start(self) -> None:
        self.branches: list[tuple[int, tuple, tuple[int, int]]] = []
        self.code: list[tuple[int, float]] = []
        self.leaves: dict[Node, int] = {}

    def _branch(self, tree: Node, bounds: dict[Node, tuple]) -> int:
        """Return the index of a branch, or minus one minus the position of a leaf's code."""
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
        if tree not in self.leaves:
            self.leaves[tree] = len(self.code)
            self._emit(tree, 1)
            self.code.append((OPERATION_CODES["_return"], 0.0))
        return -1 - self.leaves[tree]

    def _emit(self, node: Node, depth: int) -> None:
        if depth > STACK_SIZE:
            raise FormulaError("is nested too deeply")
        kind = node[0]
        if kind == "number":
            self.code.append((PUSH_CONSTANT, node[1]))
        elif kind == "variable":
            self.code.append((PUSH_VARIABLE, float(self.names.index(node[1]))))
        elif kind == "below":
            self._emit(node[1], depth)
            self._emit(("number", node[2][0]), depth + 1)
            self.code.append((OPERATION_CODES["<=" if node[2][1] else "<"], 0.0))
        elif kind == "_pow" and node[2] == ("number", 2.0):
            self._emit(node[1], depth)
            self.code.append((SQUARE, 0.0))
        elif len(node) == 2:
            self._emit(node[1], depth)
            self.code.append((OPERATION_CODES["_negate" if kind == "-" else kind], 0.0))
        else:
            self._emit(node[1], depth)
            for operand in node[2:]:
                self._emit(operand, depth + 1)
                self.code.append((OPERATION_CODES[kind], 0.0))
