"""A day in the life of the service, in seconds: `python day.py AUDIT_FOLDER`.

It starts a loopback server that plays the API's part, the service under gunicorn with four workers,
and a Celery worker; has every page asked for and every job done; and stops them. The guard warns,
and each process keeps its audit in the folder. Then look at what they saw:

    openai-project-guard report AUDIT_FOLDER

It needs gunicorn and celery, but neither key, network nor broker.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from openai_project_guard.loopback import loopback_api

HERE = Path(__file__).parent
PROJECTS = (
    *("chat", "search", "ranking", "support", "mail", "billing"),
    *("embedding", "moderation", "translation", "notes", "speech", "agent"),
)
KEYS = {f"proj_{name}": f"sk-proj-demo-not-a-real-key-of-{name}-{name[:4]}" for name in PROJECTS}
ROUNDS = 5


def settings(base_url: str, audit: str, folder: str) -> dict[str, str]:
    """The environment of the service."""
    fingerprints = (f"{p}=sha256:{sha256(key.encode()).hexdigest()}" for p, key in KEYS.items())
    return {
        **{f"{name.upper()}_KEY": KEYS[f"proj_{name}"] for name in PROJECTS},
        "OPENAI_BASE_URL": base_url,
        "OPENAI_PROJECT_GUARD": "warn",
        "OPENAI_PROJECT_GUARD_KEYS": ",".join(fingerprints),
        "OPENAI_PROJECT_GUARD_AUDIT": audit,
        "QUEUE_FOLDER": folder,
    }


@contextmanager
def running(*command: str, environment: dict[str, str], log: Path) -> Iterator[None]:
    """Runs a server until the block ends."""
    with log.open("w") as file:
        process = subprocess.Popen(  # noqa: S603 - the commands stand below
            [sys.executable, "-m", *command], cwd=HERE, env=environment, stdout=file, stderr=file
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for(pattern: str, log: Path) -> re.Match[str]:
    """What a server says when it is ready."""
    for _ in range(1800):  # of a machine that is busy with other things
        found = re.search(pattern, log.read_text()) if log.exists() else None
        if found:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{pattern} did not come: {log.read_text()}")


def ask(address: str) -> int:
    """The status of a page."""
    try:
        with urlopen(address, timeout=60) as answer:
            status: int = answer.status
    except HTTPError as error:
        with error:
            status = error.code
    return status


def main(audit: str) -> None:
    """Runs the day."""
    with (
        tempfile.TemporaryDirectory() as folder,
        loopback_api({key: project for project, key in KEYS.items()}) as api,
    ):
        for name in ("results", "queue", "control"):
            Path(folder, name).mkdir()
        environment = {**os.environ, **settings(api.base_url, os.path.abspath(audit), folder)}
        web_log, jobs_log = Path(folder, "web.log"), Path(folder, "jobs.log")
        gunicorn = ("gunicorn", "--workers", "4", "--bind", "127.0.0.1:0", "web:app")
        celery = ("celery", "--app", "jobs", "worker", "--concurrency", "2", "--loglevel", "info")
        with (
            running(*gunicorn, environment=environment, log=web_log),
            running(*celery, environment=environment, log=jobs_log),
        ):
            address = wait_for(r"Listening at: (http://\S+)", web_log)[1]
            wait_for("ready", jobs_log)
            os.environ.update(environment)
            sys.path.insert(0, str(HERE))
            from jobs import JOBS, night
            from web import PAGES

            waiting = [night.delay(name) for name in JOBS]
            with ThreadPoolExecutor(8) as pool:
                statuses = list(pool.map(ask, [address + page for page in PAGES] * ROUNDS))
            said = [job.get(timeout=120) for job in waiting]
        failed = statuses.count(502) + sum(text.startswith("failed") for text in said)
        print(f"{len(statuses)} pages and {len(said)} jobs, {failed} refused by the API")


if __name__ == "__main__":
    main(sys.argv[1])
