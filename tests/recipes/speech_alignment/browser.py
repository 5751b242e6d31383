"""A real browser, Chromium, told what to do through its DevTools protocol over two pipes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 120.0
"""Seconds, on a busy machine."""


def installed() -> str | None:
    """The path of a browser."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page in a window of its own; use it in a ``with`` block."""

    def __init__(self, path: Path, profile: Path):
        program = installed()
        assert program is not None
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()

        def in_place() -> None:  # the browser reads from descriptor 3 and writes to 4
            os.dup2(os.dup(to_browser), 3, inheritable=True)
            os.dup2(os.dup(from_browser), 4, inheritable=True)

        options = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe"
        self._process = subprocess.Popen(
            [
                program,
                *options.split(),
                f"--user-data-dir={profile}",
                "--window-size=1000,800",
                "about:blank",
            ],
            preexec_fn=in_place,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser), os.close(from_browser)
        self._unread, self._number, self._session = b"", 0, ""
        target = self._tell("Target.createTarget", url=path.resolve().as_uri())["targetId"]
        self._session = self._tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.wait_for("location.protocol === 'file:' && document.readyState === 'complete'")

    def _tell(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._unread:
                part = os.read(self._from, 1 << 20)
                assert part, "the browser has ended"
                self._unread += part
            answer, _, self._unread = self._unread.partition(b"\0")
            content = json.loads(answer)
            if content.get("id") == self._number:
                assert "error" not in content, content
                return content["result"]

    def value(self, script: str) -> Any:
        """What a JavaScript expression gives."""
        found = self._tell("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := self.value(script):
                return found
            time.sleep(0.02)
        raise AssertionError(f"{script} did not come true")

    def click(self, selector: str, number: int = 0) -> None:
        """With the mouse, in the middle of the element."""
        box = self.value(
            f"(() => {{ const e = document.querySelectorAll({selector!r})[{number}]; e.scrollIntoView();"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._tell("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._to), os.close(self._from)
