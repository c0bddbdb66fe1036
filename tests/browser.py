"""A headless Chromium, driven through a pipe by its own protocol; needs no package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome")
     if (found := shutil.which(name))), None)  # fmt: skip
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-pipe", "about:blank",
)  # fmt: skip


class Browser:
    """One page. Commands are answered in order; the page's errors are kept."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.to_browser, self.from_browser = to_browser, from_browser
        self.buffer, self.number, self.session = b"", 0, ""
        self.complaints: list[str] = []
        self.loaded = False

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the Chrome DevTools Protocol, and its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self.number:
            self._note(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, file: Path, width: int = 1200, height: int = 900) -> None:
        """Open a file in a window of this size, and wait until it is loaded."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        self.loaded = False
        self.send("Page.navigate", url=file.as_uri())
        while not self.loaded:
            self._note(self._read())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, as JSON carries it."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """The whole page as PNG."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        shot = self.send(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**size, "scale": 1}
        )
        file.write_bytes(base64.b64decode(shot["data"]))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            part = os.read(self.from_browser, 1 << 20)
            assert part, "the browser is gone"
            self.buffer += part
        line, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        details = event.get("params", {})
        if event.get("method") == "Page.loadEventFired":
            self.loaded = True
        elif event.get("method") == "Log.entryAdded":
            self.complaints.append(details["entry"]["text"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(details["exceptionDetails"]["text"])
        elif event.get("method") == "Runtime.consoleAPICalled":
            self.complaints.append(str(details["args"]))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A new browser. profile: an empty folder for it."""
    assert CHROMIUM is not None
    # It reads commands from descriptor 3 and answers on 4; ours are far from those.
    to_theirs, from_theirs = os.pipe(), os.pipe()
    ours = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (*to_theirs, *from_theirs)]
    for end in (*to_theirs, *from_theirs):
        os.close(end)
    read_end, to_browser, from_browser, write_end = ours
    devices = [(os.POSIX_SPAWN_OPEN, out, os.devnull, os.O_WRONLY, 0) for out in (1, 2)]
    pipes = [(os.POSIX_SPAWN_DUP2, read_end, 3), (os.POSIX_SPAWN_DUP2, write_end, 4)]
    words = [CHROMIUM, f"--user-data-dir={profile}", *FLAGS]
    process = os.posix_spawn(
        CHROMIUM, words, os.environ, file_actions=[*devices, *pipes], setpgroup=0
    )
    os.close(read_end)
    os.close(write_end)
    try:
        page = Browser(to_browser, from_browser)
        target = page.send("Target.createTarget", url="about:blank")["targetId"]
        found = page.send("Target.attachToTarget", targetId=target, flatten=True)
        page.session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            page.send(f"{domain}.enable")
        yield page
    finally:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(to_browser)
        os.close(from_browser)
