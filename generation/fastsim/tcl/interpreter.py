"""Runs the commands of a card: variables, namespaces, procedures, loops, and nothing else."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from generation.fastsim.tcl import expressions
from generation.fastsim.tcl.syntax import (
    Command,
    IncompleteError,
    Substitution,
    Variable,
    Word,
    parse,
)
from generation.fastsim.tcl.values import Literal, TclError, Value, as_list, as_text, as_truth
from provenance.errors import UserError

# Most public cards take up to some 20,000 commands, those with cells of micrometres a million.
MAX_COMMANDS = 500_000
MAX_DEPTH = 50
# Characters of a text, or elements of a list; so many cost as much as a command.
MAX_SIZE = 2_000_000
CHUNK = 256

GLOBAL = ""

# A variable that a card appends to holds a Python list until the card reads it: appending to a
# tuple would copy it each time.
Stored = Value | list[Value]
Array = dict[str, Stored]
Variables = dict[str, Stored | Array]


@dataclass
class Frame:
    """Where names are looked up: a namespace, and in a procedure its own variables."""

    namespace: str = GLOBAL
    local: Variables | None = None
    # Names of a procedure that stand for variables of a namespace.
    links: dict[str, tuple[str, str]] = field(default_factory=dict)


def frozen(value: Stored) -> Value:
    """Return a value that no later command changes."""
    return tuple(value) if isinstance(value, list) else value


class BreakSignal(Exception):  # noqa: N818 - a signal, not an error
    """`break` on its way to its loop."""


class ContinueSignal(Exception):  # noqa: N818 - a signal, not an error
    """`continue` on its way to its loop."""


class ReturnSignal(Exception):  # noqa: N818 - a signal, not an error
    """`return` on its way out of a procedure or a sourced file."""

    def __init__(self, value: Value):
        super().__init__()
        self.value = value


class Interpreter:
    """A Tcl that knows only the commands it is given.

    Parameters
    ----------
    commands
        The commands by name: functions of the interpreter and the words after the name.

    Attributes
    ----------
    protected
        The names that a procedure cannot take.
    namespaces
        The variables of each namespace, the global one under an empty name.
    read
        (namespace, variable) of every variable that the script itself uses with `$`.
    written
        (namespace, variable) to the (file, line) that wrote it last.
    """

    def __init__(self, commands: Mapping[str, Callable[["Interpreter", list[Value]], Stored]]):
        self.commands = dict(commands)
        self.protected = frozenset(commands)
        self.namespaces: dict[str, Variables] = {GLOBAL: {}}
        self.read: set[tuple[str, str]] = set()
        self.written: dict[tuple[str, str], tuple[str, int]] = {}
        self.frame = Frame()
        self.path = ""
        self.line = 1
        self._spent = 0
        self._depth = 0

    def run_file(self, path: Path, source: str) -> None:
        """Run the text of a file in the present frame."""
        with self._place(str(path), 1), suppress(ReturnSignal):
            self._run(source, str(path), 1)

    def run(self, script: Value) -> Stored:
        """Run a script that is a value, such as the body of a loop."""
        if isinstance(script, Literal):
            return self._run(script.raw, script.path, script.line)
        self.spend(len(as_text(script)))
        return self._run(as_text(script), self.path, self.line)

    def expression(self, source: Value) -> Value:
        """Return the value of an expression."""
        if isinstance(source, int | float):
            return source
        if isinstance(source, Literal):
            return expressions.evaluate(source.raw, source.path, source.line, self.substitute)
        return expressions.evaluate(as_text(source), self.path, self.line, self.substitute)

    def condition(self, source: Value) -> bool:
        """Return whether an expression is true."""
        return as_truth(self.expression(source))

    def loop_body(self, body: Value) -> bool:
        """Run the body of a loop once; return whether the loop goes on."""
        self.spend(0)
        try:
            self.run(body)
        except ContinueSignal:
            return True
        except BreakSignal:
            return False
        return True

    def spend(self, size: int) -> None:
        """Count work on a value of `size` characters or elements against the limit of a card."""
        if size > MAX_SIZE:
            raise TclError("a value is longer than a card may make it")
        self._spent += 1 + size // CHUNK
        if self._spent > MAX_COMMANDS:
            raise TclError(
                f"the card runs more than {MAX_COMMANDS} commands; a loop may be endless"
            )

    @contextmanager
    def within(self, frame: Frame) -> Iterator[None]:
        """Look names up in another frame for a while."""
        before, self.frame = self.frame, frame
        try:
            yield
        finally:
            self.frame = before

    def get(self, name: str, index: str | None = None) -> Value:
        """Return the value of a variable, or of an element of an array."""
        value = self._stored(name, index)
        if not isinstance(value, list):
            return value
        self.spend(len(value))
        return self.set(name, index, frozen(value))

    def append(self, name: str, index: str | None, elements: list[Value]) -> list[Value]:
        """Append elements to a list, made when it is missing; the result grows with the next."""
        present = self._stored(name, index) if self.exists(name, index) else ()
        if not isinstance(present, list):
            present = list(as_list(present))
            self.spend(len(present))
        present.extend(elements)
        self.spend(len(elements))
        if len(present) > MAX_SIZE:
            raise TclError("a list is longer than a card may make it")
        self._store(name, index, present)
        return present

    def _stored(self, name: str, index: str | None) -> Stored:
        place = self._find(name)
        if place is None:
            raise TclError(f"variable '{name}' is not set")
        value = place[0][place[2]]
        if isinstance(value, dict):
            if index is None:
                raise TclError(f"variable '{name}' is an array")
            if index not in value:
                raise TclError(f"variable '{name}({index})' is not set")
            return value[index]
        if index is not None:
            raise TclError(f"variable '{name}' is not an array")
        return value

    def exists(self, name: str, index: str | None = None) -> bool:
        """Tell whether a variable, or an element of an array, is set."""
        place = self._find(name)
        if place is None:
            return False
        value = place[0][place[2]]
        return index is None or (isinstance(value, dict) and index in value)

    def set(self, name: str, index: str | None, value: Value) -> Value:
        """Set a variable, or an element of an array, and return the value."""
        self._store(name, index, value)
        return value

    def _store(self, name: str, index: str | None, value: Stored) -> None:
        variables, namespace, key = self._find(name) or self._new(name)
        self.written[namespace, key] = self.path, self.line
        if index is None:
            if isinstance(variables.get(key), dict):
                raise TclError(f"variable '{name}' is an array")
            variables[key] = value
            return
        array = variables.setdefault(key, {})
        if not isinstance(array, dict):
            raise TclError(f"variable '{name}' is not an array")
        array[index] = value

    def unset(self, name: str, index: str | None) -> None:
        """Remove a variable, or an element of an array."""
        place = self._find(name)
        if place is None or not self.exists(name, index):
            raise TclError(f"variable '{name}' is not set")
        variables, _, key = place
        if index is None:
            del variables[key]
        else:
            del variables[key][index]

    def link(self, name: str, namespace: str) -> None:
        """Make a name of the present procedure stand for a variable of a namespace."""
        if self.frame.local is not None:
            self.frame.links[name] = namespace, name

    def namespace_of(self, name: str) -> tuple[str, str]:
        """Split a qualified name into its namespace, as seen from the present one, and the rest."""
        namespace, _, key = name.rpartition("::")
        namespace = namespace.rstrip(":")
        if name.startswith("::"):
            return namespace.lstrip(":"), key
        return "::".join(part for part in (self.frame.namespace, namespace) if part), key

    def substitute(self, part: Variable | Substitution | Word) -> Value:
        """Return the value of a word or of a part of one."""
        if isinstance(part, str):
            return part
        if isinstance(part, Variable):
            if place := self._find(part.name):
                self.read.add(place[1:])
            if part.index is None:
                return self.get(part.name)
            return self.get(part.name, as_text(self.substitute(part.index)))
        if isinstance(part, Substitution):
            return frozen(self._run_commands(part.commands, self.path))
        if len(part) == 1:
            return self.substitute(part[0])
        text = "".join(as_text(self.substitute(piece)) for piece in part)
        self.spend(len(text))
        return text

    def _find(self, name: str) -> tuple[dict, str, str] | None:
        """Return the variables that hold `name`, their namespace and the key, or None."""
        frame = self.frame
        if "::" in name:
            namespace, key = self.namespace_of(name)
            for candidate in (namespace, name.rpartition("::")[0].strip(":")):
                if key in self.namespaces.get(candidate, ()):
                    return self.namespaces[candidate], candidate, key
            return None
        if frame.local is not None:
            if name in frame.links:
                namespace, key = frame.links[name]
                variables = self.namespaces.setdefault(namespace, {})
                return (variables, namespace, key) if key in variables else None
            return (frame.local, "(procedure)", name) if name in frame.local else None
        for namespace in (frame.namespace, GLOBAL):
            if name in self.namespaces.get(namespace, ()):
                return self.namespaces[namespace], namespace, name
        return None

    def _new(self, name: str) -> tuple[dict, str, str]:
        """Return where a new variable of this name belongs."""
        frame = self.frame
        if "::" in name:
            namespace, key = self.namespace_of(name)
            if namespace not in self.namespaces:
                raise TclError(f"'{name}' belongs to a namespace that does not exist")
        elif frame.local is not None and name not in frame.links:
            return frame.local, "(procedure)", name
        else:
            namespace, key = frame.links.get(name, (frame.namespace, name))
        return self.namespaces.setdefault(namespace, {}), namespace, key

    def _run(self, source: str, path: str, line: int) -> Stored:
        return self._run_commands(parse(source, path, line), path)

    def _run_commands(self, commands: tuple[Command, ...], path: str) -> Stored:
        self._depth += 1
        result: Stored = ""
        try:
            if self._depth > MAX_DEPTH:
                raise TclError(f"commands are nested more than {MAX_DEPTH} deep")
            for command in commands:
                with self._place(path, command.line):
                    result = self._run_command(command)
        finally:
            self._depth -= 1
        return result

    def _run_command(self, command: Command) -> Stored:
        self.spend(0)
        name, *arguments = (self.substitute(word) for word in command.words)
        function = self.commands.get(as_text(name).removeprefix("::"))
        if function is None:
            raise TclError(f"'{as_text(name)[:60]}' is not a command that a card may use")
        result = function(self, arguments)
        if isinstance(result, str | tuple):
            self.spend(len(result))
        return result

    @contextmanager
    def _place(self, path: str, line: int) -> Iterator[None]:
        """Tell errors and writes within the block where they happen."""
        before = self.path, self.line
        self.path, self.line = path, line
        try:
            yield
        except IncompleteError as error:
            raise UserError(f"{path}:{error.line}: {error}") from None
        except TclError as error:
            raise UserError(f"{path}:{line}: {error}") from None
        finally:
            self.path, self.line = before
