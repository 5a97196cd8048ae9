"""Progress: a line a minute in a log, a bar on a terminal, without colours where asked."""

import os
import pty
import subprocess
import sys

import pytest

from commandline import progress as module
from commandline.progress import Progress, duration, progress

SHOW = (
    "import time\nfrom commandline.progress import progress\n"
    "for _ in progress(range(3), 3, 'res2p'): time.sleep(0.1)"
)


@pytest.fixture
def clock(monkeypatch):
    """Let a second pass with every look at the clock."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds))


def test_a_log_gets_a_line_a_minute(clock, capsys):
    assert list(progress(range(200), 200, "res2p")) == list(range(200))
    lines = capsys.readouterr().err.splitlines()
    # One look at the clock for each batch, two for each line.
    assert len(lines) == 4
    assert lines[0].startswith("res2p: 60 of 200 batches, 0.9")
    assert lines[0].endswith(" min left")
    assert lines[-1].startswith("res2p: 200 of 200 batches, ")


def test_what_was_done_before_counts_neither_as_speed_nor_as_news(capsys):
    with Progress("training", 100, "steps", done=40) as shown:
        shown.update(60)
        assert shown.line(10.0) == "training: 60 of 100 steps, 2 steps/s, 20 s left"
    assert capsys.readouterr().err.startswith("training: 60 of 100 steps, ")
    with Progress("training", 100, "steps", done=100):
        pass
    assert capsys.readouterr().err == ""


def test_one_process_of_several_speaks(capsys):
    with Progress("training", 2, "steps", silent=True) as shown:
        shown.update(2)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_and_colours_only_if_wanted():
    def shown(**environment):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", SHOW],
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment},
        ):
            os.close(theirs)
            text = b""
            try:
                while block := os.read(ours, 4096):
                    text += block
            except OSError:  # the other end is closed
                pass
        os.close(ours)
        return text.decode()

    coloured = shown()
    assert "3/3" in coloured
    assert "batches/s" in coloured
    assert "\x1b[3" in coloured
    assert "\x1b[3" not in shown(NO_COLOR="1")


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "40 s"), (720, "12 min"), (12_600, "3.5 h"), (181_440, "2.1 days")]
)
def test_times_as_one_says_them(seconds, text):
    assert duration(seconds) == text
