"""A headless Chromium, driven by the DevTools protocol over two pipes: no port, no library."""

import base64
import collections
import fcntl
import json
import os
import select
import shutil
import tempfile
import time
from pathlib import Path

from processes import Failed, allowed, spawn, wait_until

ANSWER_SECONDS = 60


class Browser:
    """Use as a context manager. One thread."""

    def __init__(self):
        self._program = shutil.which("chromium") or shutil.which("chromium-browser")
        if self._program is None:
            raise Failed("there is no chromium: scripts/deps.sh browser")
        self._child = self._folder = None
        self._rest, self._last = b"", 0
        self._answers, self.events = {}, collections.deque(maxlen=10_000)

    def __enter__(self):
        self._folder = tempfile.mkdtemp(prefix="sharder-browser-")
        from_us, self._to = map(_not_low, os.pipe())
        self._from, to_us = map(_not_low, os.pipe())
        # It reads commands from descriptor 3 and writes to 4. As root it cannot make its sandbox.
        command = ["bash", "-c", f'exec "$@" 3<&{from_us} 4>&{to_us} {from_us}<&- {to_us}>&-', "bash", self._program,
                   "--headless", "--remote-debugging-pipe", f"--user-data-dir={self._folder}", "--no-first-run",
                   "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
                   "--disable-component-update", *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank"]
        with open(Path(self._folder) / "log", "wb") as log:
            self._child = spawn(command, stdout=log, stderr=log, pass_fds=(from_us, to_us))
        os.close(from_us)
        os.close(to_us)
        return self

    def __exit__(self, *_):
        self._child.kill()
        self._child.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._folder, ignore_errors=True)

    def tell(self, method, session=None, **parameters):
        """Sends a command; its result."""
        self._last += 1
        number = self._last
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + allowed(ANSWER_SECONDS)
        while number not in self._answers:
            self._read(deadline, method)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise Failed(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self, deadline, what):
        ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
        data = os.read(self._from, 1 << 20) if ready else b""
        if not data:
            log = (Path(self._folder) / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
            raise Failed(f"the browser gave no answer to {what}: {log}")
        *messages, self._rest = (self._rest + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.events.append(message)

    def open(self, url, width=1280, height=900, dark=False):
        """A Page of its own."""
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        session = self.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.tell(f"{domain}.enable")
        page.tell("Page.bringToFront")
        page.look(width, height, dark)
        page.tell("Page.navigate", url=url)
        return page


def _not_low(descriptor):
    """The same, with a number that is none of those that the browser uses."""
    higher = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return higher


class Page:
    """One tab."""

    def __init__(self, browser, session, target):
        self._browser, self._session, self._target = browser, session, target

    def tell(self, method, **parameters):
        return self._browser.tell(method, self._session, **parameters)

    def look(self, width, height, dark):
        """As on a screen of this size; below 600 pixels it is a phone's."""
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.tell("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def value(self, expression):
        """What the JavaScript expression gives there, as JSON would have it."""
        result = self.tell("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise Failed(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression, what, timeout=30):
        return wait_until(lambda: self.value(expression), timeout, what, interval=0.1)

    def shows(self, selector):
        """[{attribute without data-: value, ..., "text": ...}] of the elements."""
        return self.value(f"[...document.querySelectorAll({json.dumps(selector)})].map(one => "
                          "({...one.dataset, text: one.innerText}))")

    def screenshot(self, file):
        """Of the whole page."""
        size = self.tell("Page.getLayoutMetrics")["cssContentSize"]
        image = self.tell("Page.captureScreenshot", captureBeyondViewport=True, clip={
            "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1})
        Path(file).write_bytes(base64.b64decode(image["data"]))

    def events(self, method):
        """The parameters of its events of this kind so far."""
        return [event["params"] for event in self._browser.events
                if event.get("sessionId") == self._session and event["method"] == method]

    def close(self):
        self._browser.tell("Target.closeTarget", targetId=self._target)
