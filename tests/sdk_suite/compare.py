"""Does a test of the SDK fail only because the guard judges its calls? Prints which.

`python compare.py FOLDER [OPTION...]`: the SDK's source distribution, unpacked, and options of
pytest. Runs its suite without the guard and with it (`sdk_suite_plugin.py`), and then those tests
that passed without and failed with it once more, by themselves, both ways: some of the SDK's tests
fail now and then with nothing around them, and those do not count. Exit status: 1 where a test
fails only with the guard, 2 where nothing was compared.

The suite wants a server that answers by the API's description. Here is one that answers everything
with an empty object: most tests of `tests/api_resources` fail on that, with the guard and without,
but their calls are made, judged and answered.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

HERE = Path(__file__).resolve().parent
TIMEOUT = 3600
"""Seconds that one run of the suite may take."""
SUSPECTS = 200
"""As many tests are run a second time; more than that are no accident."""


class Answer(BaseHTTPRequestHandler):
    """Answers everything with an empty object."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Reads the request to its end, so that the connection can be used again."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while (size := int(self.rfile.readline(), 16)) > 0:
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing: it answers some ten thousand calls."""


class Server(ThreadingHTTPServer):
    """One that keeps silent about clients that hang up."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a test may well cancel its call."""


@contextmanager
def serving() -> Iterator[str]:
    """The base URL of a server that is there meanwhile."""
    server = Server(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def run(suite: Path, url: str, guard: str, options: list[str]) -> tuple[dict[str, str], int]:
    """Runs the suite; how each test ended, and how many calls were judged."""
    with tempfile.TemporaryDirectory() as folder:
        inherited = {name: v for name, v in os.environ.items() if not name.startswith("OPENAI_")}
        environment = {
            **inherited,
            "TEST_API_BASE_URL": url,
            "PYTHONPATH": str(HERE),
            "SDK_SUITE_FOLDER": folder,
            "SDK_SUITE_GUARD": guard,
        }
        plugins = ("-p", "sdk_suite_plugin", "-p", "no:cacheprovider")
        command = [sys.executable, "-m", "pytest", *plugins, "-q", "--tb=no", "--no-header", "-rN"]
        command += ["-o", "addopts=", *options]
        subprocess.run(command, cwd=suite, env=environment, timeout=TIMEOUT, check=False)
        written = Path(folder, "outcomes.json")
        outcomes = json.loads(written.read_text(encoding="utf-8")) if written.exists() else {}
        counts = [path.read_text(encoding="utf-8") for path in Path(folder).glob("*.judged")]
        return outcomes, sum(map(int, counts))


def broken(bare: dict[str, str], guarded: dict[str, str]) -> list[str]:
    """The tests that passed without the guard and did not with it."""
    return sorted(
        test
        for test, outcome in bare.items()
        if outcome == "passed" and guarded.get(test, "not run") != "passed"
    )


def main() -> int:
    """Compares and prints."""
    suite, options = Path(sys.argv[1]), sys.argv[2:]
    with serving() as url:
        print("without the guard:", flush=True)
        bare, _ = run(suite, url, "off", options)
        print("with the guard, judging every call in warn:", flush=True)
        guarded, judged = run(suite, url, "warn", options)
        suspects = broken(bare, guarded)
        confirmed = suspects
        if 0 < len(suspects) <= SUSPECTS:
            print("those that failed only with the guard once more, both ways:", flush=True)
            again = [run(suite, url, guard, suspects)[0] for guard in ("off", "warn")]
            confirmed = broken(*again)
    passed = sum(outcome == "passed" for outcome in bare.values())
    print(f"\n{len(bare)} tests, {passed} pass without the guard; it judged {judged:,} calls.")
    for test in suspects:
        if test not in confirmed:
            print(f"does not fail by itself with the guard, or fails without it too: {test}")
    for test in confirmed:
        print(f"fails only with the guard: {test}")
    if not passed or not judged:
        print("Nothing was compared.")
        return 2
    print(f"{len(confirmed)} tests fail only with the guard.")
    return 1 if confirmed else 0


if __name__ == "__main__":
    sys.exit(main())
