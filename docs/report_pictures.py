"""Takes docs/images/report-*.png: what `report --html` shows of a day of examples/audited_service.

Run it from anywhere, in an environment with the package, gunicorn, celery, jinja2 and websockets,
where Chromium is on the path: python docs/report_pictures.py
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
DEVICES = {"desktop": (1100, None), "phone": (360, 1100)}
"""Width and height in pixels; without one, the whole page."""


def report(folder: Path) -> Path:
    """The page of a day of the example."""
    service = shutil.copytree(ROOT / "examples" / "audited_service", folder / "service")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    page, audit = folder / "report.html", folder / "audit"
    report = ("-m", "openai_project_guard", "report", str(audit), "--html", str(page))
    for arguments in (("day.py", str(audit)), report):
        subprocess.run(  # noqa: S603 - our own programs
            [sys.executable, *arguments],
            cwd=service,
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return page


@contextmanager
def browser(folder: Path) -> Iterator[ClientConnection]:
    """A headless Chromium, as one connection to its only tab."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))))
    options = ("--headless=new", "--no-sandbox", "--remote-debugging-port=0", "--hide-scrollbars")
    command = [program, *options, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert running.stderr is not None
        found = next(filter(None, (re.search(r"ws://(\S+?)/", line) for line in running.stderr)))
        tabs = json.load(urlopen(f"http://{found[1]}/json"))
        tab = next(tab for tab in tabs if tab["type"] == "page")
        with connect(tab["webSocketDebuggerUrl"], max_size=None) as connection:
            yield connection
    finally:
        running.terminate()
        running.wait()


def tell(connection: ClientConnection, method: str, **parameters: Any) -> dict[str, Any]:
    """Has the browser do something, and waits until it is done."""
    connection.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    while True:
        answer: dict[str, Any] = json.loads(connection.recv())
        if answer.get("id") == 1:
            return dict(answer["result"])


def main() -> None:
    """Takes the four pictures."""
    with tempfile.TemporaryDirectory() as name, browser(Path(name)) as tab:
        page = report(Path(name))
        tell(tab, "Page.enable")
        for device, (width, height) in DEVICES.items():
            size = {"width": width, "height": height or 800, "deviceScaleFactor": 1}
            tell(tab, "Emulation.setDeviceMetricsOverride", mobile=height is not None, **size)
            for scheme in ("light", "dark"):
                media = [{"name": "prefers-color-scheme", "value": scheme}]
                tell(tab, "Emulation.setEmulatedMedia", features=media)
                tell(tab, "Page.navigate", url=page.as_uri())
                while "loadEventFired" not in str(tab.recv()):
                    pass
                taken = tell(tab, "Page.captureScreenshot", captureBeyondViewport=not height)
                picture = IMAGES / f"report-{device}-{scheme}.png"
                picture.write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main()
