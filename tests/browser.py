"""A headless Chromium, driven over its own debugging pipe: no driver, no other package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Page:
    """One page of a running Chromium."""

    def __init__(self, to: int, back: int) -> None:
        """Attach to the first page over the pipe's two descriptors."""
        self._to, self._back = to, back
        self._number, self._session, self._rest = 0, "", b""
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attach = {"targetId": page["targetId"], "flatten": True}
        self._session = self.send("Target.attachToTarget", **attach)["sessionId"]

    def send(self, method: str, **params: Any) -> Any:
        """Send a command of the DevTools protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                read = os.read(self._back, 1 << 20)
                assert read, "Chromium has ended"
                self._rest += read
            answer, _, self._rest = self._rest.partition(b"\0")
            result = json.loads(answer)
            if result.get("id") == self._number:
                assert "error" not in result, result
                return result["result"]

    def open(self, url: str, width: int = 1280) -> None:
        """Open an address in a window of a width, in CSS pixels."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)
        self.send("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> Any:
        """Return the value of an expression as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"still not true: {expression}"
            time.sleep(0.05)
        return value


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Run Chromium with an empty profile in `folder`."""
    assert CHROMIUM is not None
    (read_by_it, to), (back, written_by_it) = os.pipe(), os.pipe()
    # it reads from descriptor 3 and writes to 4
    command = f'exec "$0" "$@" 3<&{read_by_it} 4>&{written_by_it}'
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
    process = subprocess.Popen(
        ["bash", "-c", command, CHROMIUM, *options, f"--user-data-dir={folder}", "about:blank"],
        pass_fds=(read_by_it, written_by_it),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_by_it)
    os.close(written_by_it)
    try:
        yield Page(to, back)
    finally:
        process.kill()
        process.wait()
        os.close(to)
        os.close(back)
