"""Tcl's expressions (expr(n), 8.6): read once, evaluated many times."""

import math
import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from generation.fastsim.tcl.syntax import Reader, Substitution, Variable, Word
from generation.fastsim.tcl.values import (
    TclError,
    Value,
    as_integer,
    as_list,
    as_number,
    as_text,
    as_truth,
    is_number,
)

MAX_DEPTH = 60
MAX_BITS = 4096

_OPERATOR = re.compile(
    r"\*\*|<<|>>|<=|>=|==|!=|&&|\|\||(?:eq|ne|in|ni)(?![A-Za-z0-9_(])|[-+*/%<>&^|?:,()]"
)
_NUMBER = re.compile(
    r"0[xX][0-9a-fA-F]+|0[bB][01]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
)
_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMPARES_TEXT = ("eq", "ne", "in", "ni")
_COMPARES_NUMBERS = ("<", ">", "<=", ">=", "==", "!=")
_PRECEDENCE = {
    "**": 13, "*": 12, "/": 12, "%": 12, "+": 11, "-": 11, "<<": 10, ">>": 10,
    "<": 9, ">": 9, "<=": 9, ">=": 9, "==": 8, "!=": 8, "eq": 7, "ne": 7, "in": 6, "ni": 6,
    "&": 5, "^": 4, "|": 3, "&&": 2, "||": 1,
}  # fmt: skip
_UNARY_PRECEDENCE = 14

# Gives the value of a variable or of a command substitution.
Substitute = Callable[[Variable | Substitution | Word], Value]


def evaluate(source: str, path: str, line: int, substitute: Substitute) -> Value:
    """Return the value of an expression.

    Parameters
    ----------
    source
        The expression.
    path, line
        Where it stands, for the messages of commands substituted in it.
    substitute
        Gives the values of variables and substituted commands.

    Raises
    ------
    TclError
        When it is not an expression, or has no value (1/0, log of a text, ...).
    """
    return _value(_parse(source, path, line), substitute)


@lru_cache(maxsize=4096)
def _parse(source: str, path: str, line: int) -> tuple:
    reader = _ExpressionReader(source, path, line)
    tree = reader.expression(0)
    if reader.next_operator():
        raise TclError(f"'{reader.next_operator()}' is out of place in an expression")
    return tree


class _ExpressionReader(Reader):
    """Reads an expression into nested tuples (kind, ...)."""

    depth = 0

    def next_operator(self) -> str:
        """Return the operator ahead, or an empty text at the end."""
        self._skip(" \t\r\n\v\f")
        match = _OPERATOR.match(self.source, self.position)
        if match is None and self.peek():
            raise TclError(
                f"'{self.source[self.position :][:20]}' is out of place in an expression"
            )
        return match[0] if match else ""

    def expression(self, lowest: int) -> tuple:
        """Read operands joined by operators of precedence `lowest` or higher."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TclError(f"an expression is nested more than {MAX_DEPTH} deep")
        left = self._operand()
        while True:
            symbol = self.next_operator()
            if symbol == "?" and lowest == 0:
                left = self._choice(left)
                continue
            precedence = _PRECEDENCE.get(symbol, -1)
            if precedence < max(lowest, 1):
                self.depth -= 1
                return left
            self.position += len(symbol)
            # Only the power is right-associative.
            right = self.expression(precedence if symbol == "**" else precedence + 1)
            left = (symbol, left, right)

    def _choice(self, condition: tuple) -> tuple:
        self.position += 1
        chosen = self.expression(0)
        self._expect(":")
        return ("?", condition, chosen, self.expression(0))

    def _expect(self, symbol: str) -> None:
        if self.next_operator() != symbol:
            raise TclError(f"a '{symbol}' is missing in an expression")
        self.position += 1

    def _operand(self) -> tuple:
        self._skip(" \t\r\n\v\f")
        character = self.peek()
        if character and character in "+-!~":
            self.position += 1
            return ("unary " + character, self.expression(_UNARY_PRECEDENCE))
        if character == "(":
            self.position += 1
            inner = self.expression(0)
            self._expect(")")
            return inner
        if character == "$" and (variable := self.variable()):
            return ("substitute", variable)
        if character == "[":
            return ("substitute", self.bracket())
        if character == '"':
            return ("substitute", self.quoted())
        if character == "{":
            return ("constant", str(self.braced()))
        if match := _NUMBER.match(self.source, self.position):
            self.position = match.end()
            return ("number", as_number(match[0]), match[0])
        if match := _FUNCTION.match(self.source, self.position):
            self.position = match.end()
            return self._named(match[0])
        raise TclError("an operand is missing in an expression")

    def _named(self, name: str) -> tuple:
        self._skip(" \t\r\n\v\f")
        if self.peek() != "(":
            as_truth(name)  # the only bare words are true, false, yes, ...
            return ("constant", name)
        self.position += 1
        if name not in FUNCTIONS:
            raise TclError(f"'{name}' is not a function of an expression")
        arguments = []
        if self.next_operator_or_operand() != ")":
            arguments.append(self.expression(0))
            while self.next_operator() == ",":
                self.position += 1
                arguments.append(self.expression(0))
        self._expect(")")
        return ("call", name, tuple(arguments))

    def next_operator_or_operand(self) -> str:
        """Return the next character that is not a space."""
        self._skip(" \t\r\n\v\f")
        return self.peek()


def _value(tree: tuple, substitute: Substitute) -> Value:
    result = _value_or_nan(tree, substitute)
    if isinstance(result, float) and math.isnan(result):
        raise TclError("an expression has no value")
    return result


def _value_or_nan(tree: tuple, substitute: Substitute) -> Value:
    """Return the value of a tree; only comparisons, as in Tcl, may see that it is not a number."""
    kind = tree[0]
    if kind in ("constant", "number"):
        return tree[1]
    if kind == "substitute":
        return substitute(tree[1])
    if kind == "call":
        return _call(tree[1], [as_number(_value(argument, substitute)) for argument in tree[2]])
    if kind == "?":
        return _value(tree[2 if as_truth(_value(tree[1], substitute)) else 3], substitute)
    if kind in _COMPARES_TEXT:
        return _OPERATIONS[kind](_text(tree[1], substitute), _text(tree[2], substitute))
    if kind in _COMPARES_NUMBERS:
        return _OPERATIONS[kind](
            _value_or_nan(tree[1], substitute), _value_or_nan(tree[2], substitute)
        )
    left = _value(tree[1], substitute)
    if kind == "&&":
        return int(as_truth(left) and as_truth(_value(tree[2], substitute)))
    if kind == "||":
        return int(as_truth(left) or as_truth(_value(tree[2], substitute)))
    if kind == "unary !":
        return int(not as_truth(left))
    if kind == "unary ~":
        return ~as_integer(left)
    if kind.startswith("unary"):
        return _finite(lambda number: -number if kind[-1] == "-" else number, as_number(left))
    return _OPERATIONS[kind](left, _value(tree[2], substitute))


def _text(tree: tuple, substitute: Substitute) -> Value:
    """Return an operand as it is compared as text: a number in the card's own spelling."""
    if tree[0] == "number":
        return tree[2]
    if tree[0] == "?":
        return _text(tree[2 if as_truth(_value(tree[1], substitute)) else 3], substitute)
    return _value(tree, substitute)


def _call(name: str, arguments: list) -> Value:
    function, least, most = FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        raise TclError(f"function '{name}' does not take {len(arguments)} arguments")
    return _finite(function, *arguments)


def _finite(function: Callable[..., Any], *arguments: int | float) -> int | float:
    """Call a numeric function; what has no value is an error, as in Tcl."""
    try:
        result = function(*arguments)
    except ZeroDivisionError:
        raise TclError("an expression divides by zero") from None
    except OverflowError:
        raise TclError("a number in an expression is too large") from None
    except (ValueError, TypeError):
        raise TclError("a function in an expression has no value for its argument") from None
    if isinstance(result, float):
        return result
    if result.bit_length() > MAX_BITS:
        raise TclError("a number in an expression is too large")
    return int(result)


def _arithmetic(function: Callable[[Any, Any], Any]) -> Callable[[Value, Value], Value]:
    return lambda left, right: _finite(function, as_number(left), as_number(right))


def _integers(function: Callable[[int, int], int]) -> Callable[[Value, Value], Value]:
    return lambda left, right: _finite(function, as_integer(left), as_integer(right))


def _comparison(function: Callable[[Any, Any], bool]) -> Callable[[Value, Value], Value]:
    def compare(left: Value, right: Value) -> int:
        if is_number(left) and is_number(right):
            return int(function(as_number(left), as_number(right)))
        return int(function(as_text(left), as_text(right)))

    return compare


def _divide(left: int | float, right: int | float) -> int | float:
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    if right == 0 and left != 0:
        return math.copysign(math.inf, left) * math.copysign(1.0, right)
    return left / right


def _power(left: int | float, right: int | float) -> int | float:
    if isinstance(left, int) and isinstance(right, int):
        if abs(left) <= 1:
            return left ** abs(right) if left or right >= 0 else left // 0
        if right < 0:
            return 0
        if left.bit_length() * right > MAX_BITS:
            raise OverflowError
        return left**right
    return math.pow(left, right)


def _shift_left(left: int, right: int) -> int:
    if right > MAX_BITS:
        raise OverflowError
    return left << right


def _round(value: int | float) -> int:
    """Round halves away from zero."""
    return (
        value if isinstance(value, int) else int(math.copysign(math.floor(abs(value) + 0.5), value))
    )


_OPERATIONS: dict[str, Callable[[Value, Value], Value]] = {
    "**": _arithmetic(_power),
    "*": _arithmetic(operator.mul),
    "/": _arithmetic(_divide),
    "%": _integers(operator.mod),
    "+": _arithmetic(operator.add),
    "-": _arithmetic(operator.sub),
    "<<": _integers(_shift_left),
    ">>": _integers(operator.rshift),
    "<": _comparison(operator.lt),
    ">": _comparison(operator.gt),
    "<=": _comparison(operator.le),
    ">=": _comparison(operator.ge),
    "==": _comparison(operator.eq),
    "!=": _comparison(operator.ne),
    "eq": lambda left, right: int(as_text(left) == as_text(right)),
    "ne": lambda left, right: int(as_text(left) != as_text(right)),
    "in": lambda left, right: int(as_text(left) in map(as_text, as_list(right))),
    "ni": lambda left, right: int(as_text(left) not in map(as_text, as_list(right))),
    "&": _integers(operator.and_),
    "^": _integers(operator.xor),
    "|": _integers(operator.or_),
}

_C_FUNCTIONS = (
    *("acos", "asin", "atan", "cos", "cosh", "exp", "isqrt", "log", "log10"),
    *("sin", "sinh", "tan", "tanh"),
)

# Name: function, least and most arguments. Random numbers are left out: a card has one meaning.
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    **{name: (getattr(math, name), 1, 1) for name in _C_FUNCTIONS},
    "abs": (abs, 1, 1),
    "atan2": (math.atan2, 2, 2),
    "bool": (bool, 1, 1),
    "ceil": (lambda value: float(math.ceil(value)), 1, 1),
    "double": (float, 1, 1),
    "entier": (int, 1, 1),
    "floor": (lambda value: float(math.floor(value)), 1, 1),
    "fmod": (math.fmod, 2, 2),
    "hypot": (math.hypot, 2, 2),
    "int": (int, 1, 1),
    "max": (max, 1, 100),
    "min": (min, 1, 100),
    "pow": (math.pow, 2, 2),
    "round": (_round, 1, 1),
    # The one function that has no error in Tcl where it has no value.
    "sqrt": (lambda value: math.nan if value < 0 else math.sqrt(value), 1, 1),
    "wide": (int, 1, 1),
}
