"""A headless Chromium, driven by its own protocol through a pair of pipes."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check",
    "--disable-gpu", "--disable-extensions", "--disable-background-networking",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
)  # fmt: skip
TIMEOUT = 60.0


def find() -> str | None:
    """Return the path of a Chromium; None: there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page of the browser; `events` holds all that it told unasked."""

    def __init__(self, read: int, write: int):
        self.read, self.write = read, write
        self.events: list[dict[str, Any]] = []
        self.pending = b""
        self.number = 0
        self.session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask something of the browser and wait for its answer."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self.number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.pending:
            if not (more := os.read(self.read, 1 << 20)):
                raise RuntimeError("the browser has ended")
            self.pending += more
        text, _, self.pending = self.pending.partition(b"\0")
        return json.loads(text)

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.call("Page.navigate", url=path.absolute().as_uri())
        end = time.monotonic() + TIMEOUT
        while self.ask("location.protocol + document.readyState") != "file:complete":
            if time.monotonic() > end:
                raise RuntimeError(f"{path} does not load")
            time.sleep(0.05)

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page; promises are waited for."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def resize(self, width: int, height: int = 800, phone: bool = False) -> None:
        """Lay the page out as on a screen of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings of the console, and exceptions, so far."""
        found = []
        for event in self.events:
            name, content = event.get("method"), event.get("params", {})
            if name == "Runtime.exceptionThrown":
                found.append(content["exceptionDetails"]["text"])
            elif name == "Log.entryAdded" and content["entry"]["level"] in {"error", "warning"}:
                found.append(content["entry"]["text"])
            elif name == "Runtime.consoleAPICalled" and content["type"] in {"error", "warning"}:
                found.append(str(content["args"]))
        return found

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for so far, without those inside the page."""
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith("data:")]


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """Start a browser with a profile folder of its own; end it after the block."""
    to_browser, from_browser = os.pipe(), os.pipe()
    # Chromium reads its commands on descriptor 3 and answers on 4.
    shell = f'exec "$@" 3<&{to_browser[0]} 4>&{from_browser[1]}'
    command = [str(find()), *OPTIONS, f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # which Chromium refuses to build for root
    process = subprocess.Popen(
        ["bash", "-c", shell, "browser", *command],
        pass_fds=(to_browser[0], from_browser[1]),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    )  # fmt: skip
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        yield Page(from_browser[0], to_browser[1])
    finally:
        process.terminate()
        process.wait(TIMEOUT)
        os.close(to_browser[1])
        os.close(from_browser[0])
