"""The Tcl interpreter of cards against a real one, on random expressions and lists."""

import math
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.fastsim.tcl.control import CONTROL_COMMANDS
from generation.fastsim.tcl.interpreter import Interpreter
from generation.fastsim.tcl.lists import LIST_COMMANDS
from generation.fastsim.tcl.values import as_list, as_text
from provenance.errors import UserError

needs_tclsh = pytest.mark.skipif(shutil.which("tclsh") is None, reason="no tclsh on the PATH")


def _ours(command):
    tcl = Interpreter({**CONTROL_COMMANDS, **LIST_COMMANDS})
    try:
        return as_text(tcl.run(command))
    except UserError:
        return None


class Tclsh:
    """One tclsh that evaluates commands."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["tclsh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, command):
        code = f"[encoding convertfrom utf-8 [binary decode hex {command.encode().hex()}]]"
        self.process.stdin.write(
            f"set failed [catch {{uplevel #0 {code}}} v]\n"
            'puts "$failed [binary encode hex [encoding convertto utf-8 $v]]"\nflush stdout\n'
        )
        self.process.stdin.flush()
        failed, _, value = self.process.stdout.readline().strip().partition(" ")
        return None if failed == "1" else bytes.fromhex(value).decode()


@pytest.fixture(scope="module")
def tclsh():
    shell = Tclsh()
    yield shell
    shell.process.stdin.close()
    shell.process.wait(timeout=10)


_numbers = st.one_of(
    st.integers(-1000, 1000).map(str),
    st.sampled_from(["0.5", "1e3", "2.5e-7", "1.0", "100000000000", "0.1", "1e12", "3."]),
    st.floats(-1e6, 1e6, allow_nan=False).map(repr),
)
_operators = st.sampled_from(
    ["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "&&", "||", "**", "eq", "ne"]
)
_functions = st.sampled_from(["abs", "int", "round", "double", "sqrt", "floor", "ceil", "exp"])
_expressions = st.recursive(
    _numbers,
    lambda inner: st.one_of(
        st.tuples(inner, _operators, inner).map(" ".join),
        st.tuples(inner, inner, inner).map(lambda three: "({} ? {} : {})".format(*three)),
        inner.map("({})".format),
        inner.map("-{}".format),
        inner.map("!{}".format),
        st.tuples(_functions, inner).map(lambda pair: f"{pair[0]}({pair[1]})"),
        st.tuples(st.sampled_from(["max", "min", "pow", "hypot"]), inner, inner).map(
            lambda three: f"{three[0]}({three[1]}, {three[2]})"
        ),
    ),
    max_leaves=8,
)


@needs_tclsh
@settings(max_examples=400, deadline=None)
@given(text=_expressions)
def test_random_expressions_equal_tclsh(tclsh, text):
    ours = _ours(f"expr {{{text}}}")
    if ours is None:
        # Tcl computes with infinities and with any number of digits; a card may not.
        theirs = tclsh(f"expr {{{text}}}")
        assert theirs is None or "Inf" in theirs or len(theirs) > 300 or _overflows(text)
        return
    theirs = tclsh(f"expr {{{text}}}")
    assert theirs is not None
    if ours != theirs:  # libm may round the last digit another way
        assert math.isclose(float(ours), float(theirs), rel_tol=1e-14)


def _overflows(text):
    """Tell whether some part of the expression is beyond what a card may compute."""
    return any(word in text for word in ("**", "exp", "pow"))


_texts = st.text(st.sampled_from('ab1 \t\n{}[]"$;#\\'), max_size=8)


@needs_tclsh
@settings(max_examples=300, deadline=None)
@given(words=st.lists(_texts, max_size=4))
def test_lists_of_any_text_survive(tclsh, words):
    """What is made a list here reads back as the same list, and tclsh writes it so too."""
    text = as_text(tuple(words))
    assert list(as_list(text)) == words
    assert text == tclsh("list " + " ".join(map(_escaped, words)))


def _escaped(word):
    return '"' + "".join(f"\\x{ord(character):02x}" for character in word) + '"'


_list_commands = st.one_of(
    st.tuples(st.sampled_from(["llength", "join", "lsort"]), _texts),
    st.tuples(st.just("lindex"), _texts, st.sampled_from(["0", "1", "end", "end-1", "-1", "7"])),
    st.tuples(
        st.just("lrange"), _texts, st.sampled_from(["0", "1", "end"]), st.sampled_from(["1", "end"])
    ),
    st.tuples(st.just("split"), _texts, st.sampled_from(["", "a", "1 "])),
    st.tuples(st.sampled_from(["string length", "string toupper", "string trim"]), _texts),
    st.tuples(st.just("linsert"), _texts, st.sampled_from(["0", "1", "end"]), _texts),
)


@needs_tclsh
@settings(max_examples=400, deadline=None)
@given(parts=_list_commands)
def test_random_list_commands_equal_tclsh(tclsh, parts):
    command = " ".join([parts[0], *map(_escaped, parts[1:])])
    ours, theirs = _ours(command), tclsh(command)
    if ours != theirs:
        # The same list may be written in several ways: {]} or \\].
        assert parts[0] in ("split", "lrange", "linsert", "lsort")
        assert as_list(ours) == as_list(theirs)
