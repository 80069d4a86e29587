"""A real browser, headless, driven over the DevTools protocol on two pipes; it may fetch nothing but the page."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import F_DUPFD, fcntl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = "no browser: install Debian's `chromium` or Google Chrome, or name one in CHROME"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps"),
    *("--disable-extensions", "--no-pings", "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe"),
)
WIDTHS = {"wide": 1100, "phone": 360}


def browser() -> str | None:
    """The browser to use: that of CHROME, else the first that is installed."""
    return os.environ.get("CHROME") or next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One tab, and everything it asked for or complained about."""

    def __init__(self, asked: int, answers: int) -> None:
        self._asked, self._answers, self._calls, self._buffer = asked, answers, 0, b""
        self._session = ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, /, **params: Any) -> dict[str, Any]:
        """What the browser answers."""
        self._calls += 1
        message: dict[str, Any] = {"id": self._calls, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._asked, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == self._calls:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])
        raise AssertionError(f"the browser ended at {method}")

    def open(self, path: Path, width: int = WIDTHS["wide"], *, dark: bool = False, media: str = "") -> None:
        """Show a page, as wide as a screen of so many pixels."""
        size = {"width": width, "height": 800, "screenWidth": width, "screenHeight": 800}
        self.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=width < 500)
        self.look(dark=dark, media=media)
        self.call("Page.navigate", url=path.as_uri())
        while self.script("document.readyState") != "complete":
            pass

    def look(self, *, dark: bool = False, media: str = "") -> None:
        """Light or dark, on a screen or on paper."""
        wanted = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[wanted])

    def script(self, code: str) -> Any:
        """What an expression comes to on the page; the page itself has no scripts."""
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key and let go."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        number = {"Tab": 9, "Enter": 13, " ": 32}[key]
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=number, **extra)

    def picture(self) -> bytes:
        """The whole page as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def printed(self) -> bytes:
        """The page as a PDF."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])

    def named(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader is told, in order."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            while b"\0" not in self._buffer:
                read = os.read(self._answers, 1 << 16)
                if not read:
                    return
                self._buffer += read
            text, _, self._buffer = self._buffer.partition(b"\0")
            message = json.loads(text)
            self._notice(message.get("method", ""), message.get("params", {}))
            yield message

    def _notice(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(params))


@contextmanager
def opened_browser() -> Iterator[Tab]:
    """A browser with a profile of its own, gone when it is done."""
    low_to_browser, asked = os.pipe()
    answers, low_from_browser = os.pipe()
    # The browser reads from file 3 and writes to file 4; both must be free until they are that.
    to_browser, from_browser = (fcntl(low, F_DUPFD, 10) for low in (low_to_browser, low_from_browser))
    with TemporaryDirectory(prefix="recovery-browser-", ignore_cleanup_errors=True) as profile:
        run = ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", str(browser()), *FLAGS]
        process = subprocess.Popen(
            [*run, f"--user-data-dir={profile}"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (low_to_browser, low_from_browser, to_browser, from_browser):
            os.close(end)
        try:
            yield Tab(asked, answers)
        finally:
            with suppress(OSError):
                os.close(asked)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(answers)
