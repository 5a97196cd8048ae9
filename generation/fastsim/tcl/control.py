"""The commands that steer: variables, conditions, loops, procedures, namespaces."""

from collections.abc import Sequence

from generation.fastsim.tcl.interpreter import (
    Array,
    BreakSignal,
    ContinueSignal,
    Frame,
    Interpreter,
    ReturnSignal,
    Stored,
)
from generation.fastsim.tcl.values import (
    TclError,
    Value,
    as_integer,
    as_list,
    as_text,
)


def expect(arguments: Sequence[Value], least: int, most: int | None, usage: str) -> None:
    """Raise `TclError` unless the number of arguments is within the bounds."""
    if len(arguments) < least or (most is not None and len(arguments) > most):
        raise TclError(f"wrong number of words, should be: {usage}")


def variable_name(word: Value) -> tuple[str, str | None]:
    """Split `name(index)` into name and index; the index of a plain name is None."""
    name = as_text(word)
    if name.endswith(")") and "(" in name:
        array, _, index = name[:-1].partition("(")
        return array, index
    return name, None


def set_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`set name ?value?`."""
    expect(arguments, 1, 2, "set name ?value?")
    name, index = variable_name(arguments[0])
    if len(arguments) == 1:
        return tcl.get(name, index)
    return tcl.set(name, index, arguments[1])


def unset_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`unset name ...`."""
    for word in arguments:
        tcl.unset(*variable_name(word))
    return ""


def incr_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`incr name ?step?`."""
    expect(arguments, 1, 2, "incr name ?step?")
    name, index = variable_name(arguments[0])
    present = as_integer(tcl.get(name, index)) if tcl.exists(name, index) else 0
    step = as_integer(arguments[1]) if len(arguments) == 2 else 1
    return tcl.set(name, index, present + step)


def append_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`append name ?text ...?`."""
    expect(arguments, 1, None, "append name ?text ...?")
    name, index = variable_name(arguments[0])
    if len(arguments) == 1:
        return tcl.get(name, index)
    text = as_text(tcl.get(name, index)) if tcl.exists(name, index) else ""
    text += "".join(map(as_text, arguments[1:]))
    tcl.spend(len(text))
    return tcl.set(name, index, text)


def lappend_command(tcl: Interpreter, arguments: list[Value]) -> Stored:
    """`lappend name ?element ...?`; Delphes has it as `add` too."""
    expect(arguments, 1, None, "add name ?element ...?")
    name, index = variable_name(arguments[0])
    return tcl.append(name, index, arguments[1:])


def array_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`array set name list`."""
    expect(arguments, 3, 3, "array set name list")
    if as_text(arguments[0]) != "set":
        raise TclError(f"'array {as_text(arguments[0])}' is not a command that a card may use")
    elements = as_list(arguments[2])
    if len(elements) % 2:
        raise TclError("a list of indices and values has an odd number of elements")
    for index, value in zip(elements[::2], elements[1::2], strict=True):
        tcl.set(as_text(arguments[1]), as_text(index), value)
    return ""


def expr_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`expr word ?word ...?`."""
    expect(arguments, 1, None, "expr word ?word ...?")
    if len(arguments) == 1:
        return tcl.expression(arguments[0])
    return tcl.expression(" ".join(map(as_text, arguments)))


def if_command(tcl: Interpreter, arguments: list[Value]) -> Stored:
    """`if condition ?then? body ?elseif condition ?then? body ...? ??else? body?`."""
    words = list(arguments)
    branches = []
    otherwise: Value = ""
    try:
        while True:
            condition = words.pop(0)
            if as_text(words[0]) == "then":
                words.pop(0)
            branches.append((condition, words.pop(0)))
            if not words or as_text(words[0]) != "elseif":
                break
            words.pop(0)
        if words:
            if as_text(words[0]) == "else":
                words.pop(0)
            otherwise = words.pop(0)
    except IndexError:
        raise TclError("a condition or a body is missing after 'if'") from None
    if words:
        raise TclError(f"'{as_text(words[0])[:60]}' stands after the last body of an 'if'")
    for condition, body in branches:
        if tcl.condition(condition):
            return tcl.run(body)
    return tcl.run(otherwise)


def for_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`for start condition next body`."""
    expect(arguments, 4, 4, "for start condition next body")
    start, condition, following, body = arguments
    tcl.run(start)
    while tcl.condition(condition) and tcl.loop_body(body):
        tcl.run(following)
    return ""


def while_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`while condition body`."""
    expect(arguments, 2, 2, "while condition body")
    while tcl.condition(arguments[0]) and tcl.loop_body(arguments[1]):
        pass
    return ""


def foreach_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`foreach names list ?names list ...? body`."""
    expect(arguments, 3, None, "foreach names list ?names list ...? body")
    *pairs, body = arguments
    if len(pairs) % 2:
        raise TclError("'foreach' has names without a list")
    groups = []
    for words, values in zip(pairs[::2], pairs[1::2], strict=True):
        names = [variable_name(name) for name in as_list(words)]
        if not names:
            raise TclError("'foreach' has a list without names")
        groups.append((names, as_list(values)))
    rounds = max(-(-len(elements) // len(names)) for names, elements in groups)
    for turn in range(rounds):
        for names, elements in groups:
            first = turn * len(names)
            for offset, (name, index) in enumerate(names):
                position = first + offset
                tcl.set(name, index, elements[position] if position < len(elements) else "")
        if not tcl.loop_body(body):
            break
    return ""


def break_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`break`."""
    expect(arguments, 0, 0, "break")
    raise BreakSignal


def continue_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`continue`."""
    expect(arguments, 0, 0, "continue")
    raise ContinueSignal


def return_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`return ?value?`."""
    expect(arguments, 0, 1, "return ?value?")
    raise ReturnSignal(arguments[0] if arguments else "")


def error_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`error message`: the card itself says that it is wrong."""
    expect(arguments, 1, 3, "error message")
    raise TclError(as_text(arguments[0]))


def proc_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`proc name parameters body`."""
    expect(arguments, 3, 3, "proc name parameters body")
    name = as_text(arguments[0]).removeprefix("::")
    parameters = [as_list(parameter) for parameter in as_list(arguments[1])]
    body = arguments[2]
    if any(len(parameter) not in (1, 2) for parameter in parameters):
        raise TclError(f"procedure '{name}' has a parameter that is not a name or a name and value")
    usage = " ".join([name, *(as_text(parameter[0]) for parameter in parameters)])
    namespace = tcl.frame.namespace

    def procedure(tcl: Interpreter, values: list[Value]) -> Stored:
        local: dict[str, Stored | Array] = {}
        rest = list(values)
        for parameter in parameters:
            parameter_name = as_text(parameter[0])
            if parameter_name == "args" and parameter is parameters[-1]:
                local["args"] = tuple(rest)
                rest = []
            elif rest:
                local[parameter_name] = rest.pop(0)
            elif len(parameter) == 2:
                local[parameter_name] = parameter[1]
            else:
                raise TclError(f"wrong number of words, should be: {usage}")
        if rest:
            raise TclError(f"wrong number of words, should be: {usage}")
        with tcl.within(Frame(namespace, local)):
            try:
                return tcl.run(body)
            except ReturnSignal as returned:
                return returned.value
            except (BreakSignal, ContinueSignal):
                raise TclError(f"procedure '{name}' leaves a loop that it is not in") from None

    if name in tcl.protected:
        raise TclError(f"'{name}' is a command of Tcl and cannot become a procedure")
    tcl.commands[name] = procedure
    return ""


def global_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`global name ...`."""
    for word in arguments:
        tcl.link(as_text(word), "")
    return ""


def variable_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`variable name ?value? ?name value ...?`."""
    for position in range(0, len(arguments), 2):
        name = as_text(arguments[position])
        tcl.link(name, tcl.frame.namespace)
        if position + 1 < len(arguments):
            with tcl.within(Frame(tcl.frame.namespace)):
                tcl.set(f"::{tcl.frame.namespace}::{name}", None, arguments[position + 1])
    return ""


def namespace_command(tcl: Interpreter, arguments: list[Value]) -> Stored:
    """`namespace eval name script`."""
    expect(arguments, 3, 3, "namespace eval name script")
    if as_text(arguments[0]) != "eval":
        raise TclError(f"'namespace {as_text(arguments[0])}' is not a command that a card may use")
    return run_in_namespace(tcl, as_text(arguments[1]), arguments[2])


def run_in_namespace(tcl: Interpreter, name: str, script: Value) -> Stored:
    """Run a script whose new variables belong to namespace `name`."""
    namespace = "::".join(part for part in tcl.namespace_of(name + "::x")[:1] if part)
    tcl.namespaces.setdefault(namespace, {})
    with tcl.within(Frame(namespace)):
        return tcl.run(script)


def info_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`info exists name`."""
    expect(arguments, 2, 2, "info exists name")
    if as_text(arguments[0]) != "exists":
        raise TclError(f"'info {as_text(arguments[0])}' is not a command that a card may use")
    return int(tcl.exists(*variable_name(arguments[1])))


CONTROL_COMMANDS = {
    "add": lappend_command,
    "append": append_command,
    "array": array_command,
    "break": break_command,
    "continue": continue_command,
    "error": error_command,
    "expr": expr_command,
    "for": for_command,
    "foreach": foreach_command,
    "global": global_command,
    "if": if_command,
    "incr": incr_command,
    "info": info_command,
    "lappend": lappend_command,
    "namespace": namespace_command,
    "proc": proc_command,
    "return": return_command,
    "set": set_command,
    "unset": unset_command,
    "variable": variable_command,
    "while": while_command,
}
