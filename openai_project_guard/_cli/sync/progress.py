"""What a long command is doing, on one line of the terminal; nothing in a pipe."""

from __future__ import annotations

import shutil
import sys
import time

_ERASE = "\r\x1b[K"
_SELDOM = 0.1  # seconds between two changes of the line


class Progress:
    """A line on standard error that is overwritten, and removed in the end."""

    def __init__(self) -> None:
        self._text = ""
        self._at = -_SELDOM

    def close(self) -> None:
        """Takes the line away."""
        if self._text:
            self._write("")

    def show(self, text: str) -> None:
        """Shows what is being done; texts that come thick and fast are left out."""
        if time.monotonic() - self._at >= _SELDOM:
            self._at = time.monotonic()
            self._write(text)

    def wait(self, seconds: float) -> None:
        """Waits, and says how long it still takes."""
        until = time.monotonic() + seconds
        text = self._text
        while (left := until - time.monotonic()) > 0:
            self._write(f"the API asks to wait: {left:.0f} s")
            time.sleep(min(left, 1.0))
        self._write(text)

    def _write(self, text: str) -> None:
        if sys.stderr.isatty():
            width = shutil.get_terminal_size((80, 24)).columns - 1
            sys.stderr.write(_ERASE + text[:width])
            sys.stderr.flush()
        self._text = text
