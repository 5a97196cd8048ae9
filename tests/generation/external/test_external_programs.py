"""What a user sees when a program of others fails: the lines that say why."""

import pytest

from generation.external.programs import (
    MADGRAPH,
    ProgramError,
    problem_lines,
    program_error,
    run_program,
)
from provenance.errors import UserError

# As MadGraph 3.5.7 wrote it when LHAPDF could not read a set, shortened.
MADGRAPH_LOG = """INFO: load configuration from /opt/mg5/input/mg5_configuration.txt
survey  point02589_0
INFO: compile directory
INFO: Running Survey
terminate called after throwing an instance of 'LHAPDF::MetadataError'
  what():  Requested ODE AlphaS but there is no reference point given

Program received signal SIGABRT: Process abort signal.
#0  0x7f7181e218c2 in ???
#1  0x7f7181e20a55 in ???
rm: cannot remove 'results.dat': No such file or directory
\x1b[1;31mCommand "generate_events point02589_0" interrupted with error:
Exception : Reported error: End code 134.0
More information is found in '{debug}'.
Please attach this file to your report.\x1b[0m
INFO:\x20
""" + "".join(
    f"\x1b[1;34mcommand not executed: set nevents {number}\x1b[0m\n" for number in range(60)
)

DEBUG_LOG = """#************************************************************
generate_events point02589_0
Traceback (most recent call last):
  File "/opt/mg5/madgraph/interface/extended_cmd.py", line 1544, in onecmd
    return self.onecmd_orig(line, **opt)
  File "/opt/mg5/madgraph/madevent/gen_ximprove.py", line 157, in launch
    raise Exception(text)
Exception: Reported error: End code 134.0
                          MadGraph5_aMC@NLO Options
"""


def test_the_lines_that_say_why_are_shown(tmp_path, capsys):
    (tmp_path / "debug.log").write_text(DEBUG_LOG)
    log = MADGRAPH_LOG.replace("{debug}", str(tmp_path / "debug.log"))
    (tmp_path / f"{MADGRAPH}.log").write_text(log)
    error = program_error(MADGRAPH, tmp_path, "made no events")
    assert str(error).startswith("mg5_aMC made no events")
    shown = capsys.readouterr().out
    assert "what():  Requested ODE AlphaS but there is no reference point given" in shown
    assert "Exception : Reported error: End code 134.0" in shown
    assert "debug.log:" in shown
    assert "raise Exception(text)" in shown
    for noise in ("command not executed", "0x7f71", "\x1b", "load configuration", "extended_cmd"):
        assert noise not in shown


def test_of_many_errors_the_first_and_the_last_are_shown():
    lines = problem_lines("".join(f"error {number}\n" for number in range(1000)))
    assert lines[0] == "error 0"
    assert lines[-1] == "error 999"
    assert "968 more" in " ".join(lines)
    assert len(lines) < 40


def test_a_log_without_errors_shows_its_end():
    assert problem_lines("".join(f"step {i}\n" for i in range(50)))[-1] == "step 49"
    assert problem_lines("") == []


def test_a_program_that_is_killed_or_missing_is_named(tmp_path, program):
    program("crash", "#!/bin/sh\necho Segmentation violation; kill -SEGV $$\n")
    with pytest.raises(ProgramError, match="crash was ended by signal 11"):
        run_program(["crash"], tmp_path)
    with pytest.raises(UserError, match="absent is not on the PATH"):
        run_program(["absent"], tmp_path)
