"""What of an audit is there after a kill, a fork, an exit, a full disk?"""

from __future__ import annotations

import gc
import logging
import multiprocessing.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from audit.seen import MISMATCH, counts, files, lines, verdict
from pytest_mock import MockerFixture
from support import python, starts_no_thread

from openai_project_guard._audit import files as audit_files
from openai_project_guard._audit import record as recording
from openai_project_guard._audit.record import Audit
from openai_project_guard._audit.summary import summarize

HERE = Path(__file__).parent
SETUP = """
import os, sys
from openai_project_guard._audit import record as recording
from openai_project_guard._audit.record import Audit
audit = Audit(os.environ["FOLDER"])
def allowed(times=1, site="here"):
    for _ in range(times):
        audit.record_allowed(site, "sk-…AAAA", "proj_a", "api.openai.com", "POST")
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")


def total(folder: Path) -> int:
    return sum(record.count for record in summarize([str(folder)]).records)


def until(is_so: Callable[[], bool]) -> None:
    """Waits for what comes about by itself; whoever calls looks at what came of it."""
    deadline = time.monotonic() + 120
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    done = python(SETUP + code, FOLDER=str(folder))
    assert "Error" not in done.stderr, done.stderr
    return done


def test_the_rest_is_written_at_exit(tmp_path: Path) -> None:
    assert run("allowed(3)", tmp_path).returncode == 0
    assert total(tmp_path) == 3


def test_a_call_in_an_exit_handler_is_counted(tmp_path: Path) -> None:
    early = "import atexit\natexit.register(lambda: allowed(2, 'early'))\n"
    done = python(early + SETUP + "allowed(3)\natexit.register(allowed, 4)", FOLDER=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert total(tmp_path) == 9


@pytest.mark.parametrize("end", ["sys.exit(3)", "raise SystemExit(3)"])
def test_the_exit_status_stays_the_programs_own(tmp_path: Path, end: str) -> None:
    assert run(f"allowed()\n{end}", tmp_path).returncode == 3
    assert total(tmp_path) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_kill_9_loses_at_most_what_came_since_the_last_write(tmp_path: Path) -> None:
    code = (
        SETUP
        + """
recording.INTERVAL = 0.05
import time
n = 0
while True:
    allowed()
    n += 1
    print(n, flush=True)
    time.sleep(0.001)
"""
    )
    places = os.pathsep.join([str(Path(recording.__file__).parents[2])])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "FOLDER": str(tmp_path), "PYTHONPATH": places},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: bool(files(tmp_path)) and total(tmp_path) >= 20)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        made = process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert 20 <= total(tmp_path) <= len(made) + 1


WRONG = """
import signal, support
import openai_project_guard as opg
opg.enable("warn", registry=support.KEYS, audit=os.environ["FOLDER"])
client = support.sync_client(support.Recorder(), project="proj_b")
def wrong_and_killed(number):
    for _ in range(3):
        support.chat(client)
    os.kill(os.getpid(), number)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_wrong_call_site_is_there_whatever_ends_the_process(tmp_path: Path) -> None:
    done = run(WRONG + "wrong_and_killed(signal.SIGKILL)", tmp_path)
    assert done.returncode == -signal.SIGKILL
    (record,) = summarize([str(tmp_path)]).records
    assert (record.outcome, record.reason, record.count) == ("warned", "mismatch", 1)


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_at_sigterm_all_that_was_counted_is_written(tmp_path: Path) -> None:
    done = run(WRONG + "wrong_and_killed(signal.SIGTERM)", tmp_path)
    assert done.returncode == -signal.SIGTERM
    assert total(tmp_path) == 3


def test_the_thread_writes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "INTERVAL", 0.02)
    audit = Audit(str(tmp_path))
    assert audit._thread is None  # it starts with the first call
    audit.record(verdict(**MISMATCH))
    until(lambda: bool(files(tmp_path)) and bool(lines(tmp_path)))
    assert counts(tmp_path) == {("warned", "mismatch", "proj_a"): 1}
    thread = audit._thread
    assert thread is not None
    audit.close()
    thread.join(300)
    assert not thread.is_alive()


def test_what_is_recorded_after_the_end_is_written_at_once(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    for _ in range(2):
        audit.record_allowed("here", "sk-…AAAA", "proj_a", "api.openai.com", "POST")
        audit.record(verdict(**MISMATCH))
    audit.close()
    audit.close()
    for _ in range(3):
        audit.record_allowed("here", "sk-…AAAA", "proj_a", "api.openai.com", "POST")
        audit.record(verdict(**MISMATCH))
    assert counts(tmp_path) == {
        ("allowed", None, "proj_a"): 5,
        ("warned", "mismatch", "proj_a"): 5,
    }


@needs_fork
def test_a_forked_child_keeps_a_file_of_its_own(tmp_path: Path) -> None:
    run(
        """
allowed(5)
for _ in range(2):
    if not os.fork():
        allowed(7)
        sys.exit(0)
for _ in range(2):
    os.wait()
allowed(1)
""",
        tmp_path,
    )
    assert len(files(tmp_path)) == 3
    assert sorted(line["count"] for line in lines(tmp_path)) == [6, 7, 7]


@needs_fork
def test_the_thread_starts_again_in_a_forked_child(tmp_path: Path) -> None:
    run(
        """
import time
recording.INTERVAL = 0.02
allowed(5)
audit.flush()
if not os.fork():
    allowed(7)
    time.sleep(1)
    os._exit(0)
os.wait()
""",
        tmp_path,
    )
    assert sorted(line["count"] for line in lines(tmp_path)) == [5, 7]


@needs_fork
def test_a_fork_in_the_middle_of_a_write_hinders_no_child(tmp_path: Path) -> None:
    run(
        """
import threading
allowed()
stop = threading.Event()
def keep_writing():
    while not stop.is_set():
        allowed()
        audit.flush()
thread = threading.Thread(target=keep_writing)
thread.start()
for _ in range(30):
    if not os.fork():
        allowed(2)
        audit.close()
        os._exit(0)
    os.wait()
stop.set()
thread.join()
""",
        tmp_path,
    )
    assert len(files(tmp_path)) == 31


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_process_pool_write_before_they_end(tmp_path: Path, method: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        SETUP
        + f"""
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
def work(n):
    allowed(n)
    return os.getpid()
if __name__ == "__main__":
    with ProcessPoolExecutor(2, multiprocessing.get_context("{method}")) as pool:
        list(pool.map(work, range(10)))
    worker = multiprocessing.get_context("{method}").Process(target=work, args=(100,))
    worker.start()
    worker.join()
""",
        encoding="utf-8",
    )
    if os.name == "nt" and method != "spawn":
        pytest.skip(f"Windows has no {method}")
    folder = tmp_path / "audit"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program)],
        env={
            **os.environ,
            "FOLDER": str(folder),
            "PYTHONPATH": str(Path(recording.__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert total(folder) == 145


def test_a_fault_while_a_call_is_counted_is_told_and_raises_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
) -> None:
    audit = Audit(str(tmp_path))
    mocker.patch.object(recording, "Tally", side_effect=ValueError("a fault of ours"))
    with caplog.at_level(logging.ERROR, "openai_project_guard"):
        audit.record(verdict(**MISMATCH))
        audit.record_allowed("here", "sk-…AAAA", "proj_a", "api.openai.com", "POST")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "cannot be written: a fault of ours" in caplog.text
    audit.close()


def test_a_folder_that_cannot_be_made_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.ERROR, "openai_project_guard"):
        audit = Audit(str(tmp_path / "file" / "audit"))
        for _ in range(3):
            audit.record(verdict(**MISMATCH))
            audit.record_allowed("here", "sk-…AAAA", "proj_a", "api.openai.com", "POST")
            audit.flush()
        audit.close()
    (said,) = caplog.records
    assert said.levelno == logging.ERROR
    assert "cannot be written" in said.getMessage()
    assert "Calls go on" in said.getMessage()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no read-only folders")
def test_a_read_only_folder_is_told_once(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o555)
    done = python(
        """
import os, logging
from openai_project_guard._audit.record import Audit
logging.basicConfig(format="%(levelname)s %(message)s")
if not os.geteuid():
    os.setuid(65534)  # root may write everywhere
audit = Audit(os.environ["FOLDER"])
for _ in range(3):
    audit.record_allowed("here", "sk-…AAAA", "proj_a", "api.openai.com", "POST")
    audit.flush()
print("went on")
""",
        FOLDER=str(folder),
    )
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert done.stderr.startswith("ERROR The audit in ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit of a file's size")
def test_on_a_full_disk_calls_go_on_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    done = python(
        """
import os, resource, signal, logging
logging.basicConfig(format="%(levelname)s %(message)s")
from openai_project_guard._audit.record import Audit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
audit = Audit(os.environ["FOLDER"])
def some(n):
    for i in range(n):
        audit.record_allowed(f"site {i}", "sk-…AAAA", "proj_a", "api.openai.com", "POST")
some(10)
audit.flush()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
for _ in range(5):
    some(20)
    audit.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
some(1)
""",
        FOLDER=str(tmp_path),
    )
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    assert summarize([str(tmp_path)]).skipped == 0
    assert total(tmp_path) == 10 + 5 * 20 + 1


def test_a_file_that_is_removed_is_made_again(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    audit.record(verdict())
    audit.flush()
    files(tmp_path)[0].unlink()
    audit.record(verdict())
    audit.close()
    assert total(tmp_path) == 1


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows every link")
def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "audit", tmp_path / "elsewhere"
    elsewhere.write_text("somebody else's")
    audit = Audit(str(folder))
    audit.record(verdict())
    audit.flush()
    (file,) = files(folder)
    file.unlink()
    file.symlink_to(elsewhere)
    audit.record(verdict())
    audit.close()
    assert elsewhere.read_text() == "somebody else's"


def test_an_audit_in_which_nothing_was_counted_has_nothing_to_say(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Audit(str(tmp_path)).close()
    assert files(tmp_path) == []
    assert caplog.records == []


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such modes")
def test_a_folder_that_is_removed_is_made_again_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    audit = Audit(str(folder))
    audit.record(verdict())
    audit.flush()
    shutil.rmtree(folder)
    audit.record(verdict())
    audit.close()
    assert total(folder) == 1
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_file_of_a_host_with_any_name_is_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "../a host/é:" + "x" * 300)
    audit = Audit(str(tmp_path / "audit"))
    audit.record(verdict())
    audit.close()
    (file,) = files(tmp_path / "audit")
    assert re.fullmatch(r"audit-\.\._a_host___x+-\w+-\w+-\w+\.jsonl", file.name)


def test_a_line_that_somebody_tore_spoils_no_other(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    audit.record(verdict())
    audit.flush()
    with files(tmp_path)[0].open("ab") as file:
        file.write(b'{"call_site":nu')
    audit.record(verdict())
    audit.close()
    summary = summarize([str(tmp_path)])
    assert (summary.skipped, total(tmp_path)) == (1, 2)


def test_a_file_stays_small_however_long_the_process_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_files, "LIMIT", 100_000)
    audit = Audit(str(tmp_path))
    largest = 0
    now = time.time()
    for turn in range(1000):
        monkeypatch.setattr(time, "time", lambda turn=turn: now + turn * 3600)
        for number in range(5):
            audit.record_allowed(f"site {number}", "sk-…A", "proj_a", "api.openai.com", "POST")
        audit.record(verdict(**MISMATCH))
        audit.flush()
        largest = max(largest, files(tmp_path)[0].stat().st_size)
    audit.close()
    assert largest < 2 * 100_000
    assert len(files(tmp_path)) == len(list(tmp_path.iterdir())) == 1
    assert counts(tmp_path) == {
        ("allowed", None, "proj_a"): 5000,
        ("warned", "mismatch", "proj_a"): 1000,
    }
    lately = summarize([str(tmp_path)], since=now + 979.5 * 3600)  # the last day is not blurred
    assert sum(record.count for record in lately.records) == 6 * 20


def test_hours_are_kept_as_long_as_they_take_less_than_half_of_what_a_file_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.time()

    def audit_of_30_hours(folder: Path) -> Audit:
        audit = Audit(str(folder))
        for hour in range(30):
            monkeypatch.setattr(time, "time", lambda hour=hour: start + hour * 3600)
            audit.record(verdict(**MISMATCH))
            audit.flush()
        return audit

    def length(folder: Path) -> int:
        return files(folder)[0].stat().st_size

    audit_of_30_hours(tmp_path / "alone").close()
    limit = round(length(tmp_path / "alone") / 0.45)
    monkeypatch.setattr(audit_files, "LIMIT", limit)
    audit = audit_of_30_hours(tmp_path / "much")
    before = 0
    while before < length(tmp_path / "much"):  # until the file is made smaller
        before = length(tmp_path / "much")
        audit.record(verdict(**MISMATCH))
        audit.flush()
    for hour in range(30):
        lately = summarize([str(tmp_path / "much")], since=start + (hour - 0.5) * 3600)
        assert sum(record.count for record in lately.records) == total(tmp_path / "much") - hour
    audit.close()


@pytest.mark.parametrize("pace", [-86_400, -3600, 86_400])
def test_a_file_stays_small_over_the_years_and_though_the_clock_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pace: int
) -> None:
    monkeypatch.setattr(audit_files, "LIMIT", 20_000)
    audit = Audit(str(tmp_path))
    now = time.time()
    for turn in range(400):
        monkeypatch.setattr(time, "time", lambda turn=turn: now + turn * pace)
        audit.record(verdict(**MISMATCH))
        audit.flush()
    audit.close()
    assert files(tmp_path)[0].stat().st_size < 20_000
    assert "…AAAA" in files(tmp_path)[0].read_text("utf-8")  # as people look for it
    assert total(tmp_path) == 400


@pytest.mark.parametrize("is_writable", [True, False])
def test_when_a_call_was_first_made_is_known_whether_or_not_it_could_be_written_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_writable: bool
) -> None:
    start = round(time.time())
    folder = tmp_path / "audit"
    if not is_writable:
        folder.write_text("in the way")
    audit = Audit(str(folder))
    for second in (0, 10, 20):
        monkeypatch.setattr(time, "time", lambda second=second: start + second)
        audit.record(verdict(**MISMATCH))
        audit.flush()
        if second == 10 and not is_writable:
            folder.unlink()
    audit.close()
    summary = summarize([str(folder)])
    (record,) = summary.records
    assert (record.first, record.last, record.count) == (start, start + 20, 3)
    assert (summary.first, summary.last) == (start, start + 20)


def test_where_no_thread_can_be_started_the_exit_writes(tmp_path: Path) -> None:
    run(
        """
import threading
def start(self):
    raise RuntimeError("no thread")
threading.Thread.start = start
allowed(3)
allowed(2, "elsewhere")
""",
        tmp_path,
    )
    assert total(tmp_path) == 5


def test_where_no_thread_could_be_started_another_kind_of_call_starts_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "INTERVAL", 0.02)
    audit = Audit(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", starts_no_thread)
        audit.record(verdict())
    audit.record(verdict(client_site="elsewhere"))
    until(lambda: bool(files(tmp_path)) and total(tmp_path) == 2)
    assert total(tmp_path) == 2
    audit.close()


def test_an_audit_that_was_closed_is_kept_by_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Signal:
        def __init__(self) -> None:
            self.receivers: list[Any] = []

        def connect(self, receiver: Any, weak: bool) -> None:
            self.receivers.append(receiver)

        def disconnect(self, receiver: Any) -> None:
            self.receivers.remove(receiver)

    signals = SimpleNamespace(worker_process_shutdown=Signal())
    monkeypatch.setitem(sys.modules, "celery.signals", signals)
    assert multiprocessing.util  # it keeps what is to be done at the end of a process
    audit = Audit(str(tmp_path))
    audit.record_allowed("here", "sk-…AAAA", "proj_a", "api.openai.com", "POST")
    thread = audit._thread
    assert thread is not None
    assert len(signals.worker_process_shutdown.receivers) == 1
    audit.close()
    thread.join()
    kept = weakref.ref(audit)
    del audit
    gc.collect()
    assert kept() is None
    assert total(tmp_path) == 1
