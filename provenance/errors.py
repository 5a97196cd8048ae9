"""A user's mistake, said in one sentence."""

import sys
from collections.abc import Callable
from io import TextIOWrapper


class UserError(Exception):
    """Bad input, named in one sentence: the file, key or value, and what would be right."""


def run(main: Callable[[], None]) -> None:
    """Run a command line; turn a `UserError` or an operating-system refusal into one sentence.

    Parameters
    ----------
    main
        The command. It returns normally on success.

    Raises
    ------
    SystemExit
        With code 1 after a mistake of the user's, 130 after Ctrl-C. Anything else is a defect of
        the program and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # η and φ on a terminal that has no such letters.
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except UserError as error:
        _exit(" ".join(str(error).split()))
    except OSError as error:
        if error.strerror is None:
            raise
        _exit(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None


def first_line(error: Exception) -> str:
    """Return what an error says, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _exit(sentence: str) -> None:
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(1)
