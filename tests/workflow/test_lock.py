"""The lock of a run: one holder, gone with its process."""

import os
import signal
import subprocess
import sys

import pytest

from workflow.lock import hold_run_lock

HOLDER = """
import sys, time
from pathlib import Path
from workflow.lock import hold_run_lock
hold_run_lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_run_is_refused_until_the_first_is_dead(tmp_path):
    (tmp_path / ".snakemake").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SystemExit, match=f"another run works here .process {holder.pid} on"):
            hold_run_lock(tmp_path)
        os.kill(holder.pid, signal.SIGKILL)
    hold_run_lock(tmp_path)
