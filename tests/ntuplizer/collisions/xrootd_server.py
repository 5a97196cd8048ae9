"""A real XRootD server on this machine, without authentication, as an unprivileged user."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAM = shutil.which("xrootd")
UNPRIVILEGED = "nobody"
NAME = "test"
STARTED = re.compile(rf"xrootd {NAME}@\S+ initialization completed")
STARTS_WITHIN = 10  # s


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes
    ----------
    folder
        What it serves.
    address
        `root://localhost:<port>`.
    process
        Its process.
    """

    folder: Path
    address: str
    process: subprocess.Popen

    def url(self, name: str) -> str:
        return f"{self.address}//{name}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as listening:
        return listening.getsockname()[1]


@contextmanager
def serve_xrootd(checksums: str | None = "adler32") -> Iterator[Server]:
    """Serve a new folder; `checksums` is the kind that the server states, None for none."""
    assert PROGRAM is not None
    user = {}
    if os.geteuid() == 0:  # as which the server refuses to run
        group = pwd.getpwnam(UNPRIVILEGED).pw_gid
        user = {"user": UNPRIVILEGED, "group": group, "extra_groups": []}
    port = free_port()
    # Not a folder of pytest, which nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="xrootd-") as name:
        base, folder, own = Path(name), Path(name, "served"), Path(name, "own")
        base.chmod(0o755)
        folder.mkdir()
        own.mkdir()
        if user:
            shutil.chown(own, UNPRIVILEGED)
        configuration = [f"oss.localroot {folder}", "all.export /", f"all.adminpath {own}",
                         f"all.pidpath {own}", f"xrd.port {port}"]  # fmt: skip
        if checksums is not None:
            configuration.append(f"xrootd.chksum {checksums}")
        (base / "server.cfg").write_text("\n".join(configuration) + "\n")
        command = [PROGRAM, "-c", base / "server.cfg", "-n", NAME, "-l", own / "log"]
        process = _start(command, own / NAME / "log", cwd=own, **user)
        try:
            yield Server(folder, f"root://localhost:{port}", process)
        finally:
            process.kill()
            process.wait()


def _start(command: list, log: Path, **options) -> subprocess.Popen:
    """Start a server and wait until its log says that it is ready.

    One that is asked before that may crash, and one start in a hundred does so anyhow (5.5.3).
    """
    for _ in range(3):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
        )
        until = time.monotonic() + STARTS_WITHIN
        while process.poll() is None and time.monotonic() < until:
            if log.is_file() and STARTED.search(log.read_text(errors="replace")):
                return process
            time.sleep(0.02)
        process.kill()
        process.wait()
    raise RuntimeError("the XRootD server did not start")
