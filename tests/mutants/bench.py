"""Runs tests on mutants of the modules that they are for, in a copy of the tree.

The tests are collected once. Each mutant gets a fork of that process, in which the functions that
it changes are exchanged, or its constants, and runs the tests that reach them, those that are quick
or have found others first. A mutant that cannot be exchanged so (a class, a decorator), or that all
of those tests let pass, is judged by a process that imports it, and by all tests of its module's
row: they may start processes of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

from mutants.mutations import Mutant
from mutants.swap import renew, replacements, swap

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
PACKAGE = "openai_project_guard"
KILLED, SURVIVED, UNKNOWN, TIMED_OUT = "killed", "survived", "unknown", "timed out"
CODES = {1: KILLED, 0: SURVIVED, 3: UNKNOWN}
OPTIONS = (
    *("-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=short"),
    "--assert=plain",  # or pytest rewrites our functions with an assert, and they are not known
    *("--show-capture=no", "-W", "ignore::pytest.PytestAssertRewriteWarning"),  # imported before
)


class Bench:
    """A copy of the tree in which one module at a time is changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in (PACKAGE, "tests", "pyproject.toml", "README.md", "docs", "examples"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        self._moment = 1_000_000_000

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def write(self, module: str, code: str) -> None:
        """Compiled code is told from stale by the second and the size, so each gets its second."""
        path = self.folder / module
        path.write_text(code, "utf-8")
        self._moment += 2
        os.utime(path, (self._moment, self._moment))

    def source(self, module: str) -> str:
        """The module as it is without a mutant."""
        return (ROOT / module).read_text("utf-8")

    def outcomes(
        self, mutants: list[Mutant], tests: list[str], *, is_quick: bool = False
    ) -> Iterator[Any]:
        """Each mutant, what became of it, and the seconds that took.

        Quickly: one that the first look lets pass is not looked at again.
        """
        seen = Seen()
        left = []
        for number, outcome, seconds in self._in_forks(seen, mutants, tests):
            if outcome in (KILLED, TIMED_OUT) or (is_quick and outcome == SURVIVED):
                yield mutants[number], outcome, seconds
            else:
                left.append((mutants[number], seconds))
        for mutant, before in left:
            started = time.monotonic()
            self.write(mutant.module, mutant.code)
            outcome = self._outcome(lambda: self._pytest(tests, seen), 30 + 4 * seen.seconds)
            self.write(mutant.module, self.source(mutant.module))
            yield mutant, outcome, before + time.monotonic() - started

    def _in_forks(
        self, seen: Seen, mutants: list[Mutant], tests: list[str]
    ) -> Iterator[tuple[int, str, float]]:
        """The number of each mutant, what became of it, and the seconds, from a process of its own.

        This process must not import the package: it is the one that the others are forked from.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            report = os.fdopen(writing, "w")
            self._pytest(tests, Collected(self, seen, mutants, report))
        os.close(writing)
        with os.fdopen(reading) as report:
            for line in report:
                row = json.loads(line)
                if isinstance(row, dict):
                    seen.take(row)
                else:
                    yield tuple(row)
        os.waitpid(child, 0)
        if not seen.tests:
            print(self.output.read_text("utf-8")[-3000:])
            sys.exit(f"The tests for {mutants[0].module} fail without a mutant.")

    def _pytest(self, tests: list[str], plugin: object) -> NoReturn:
        code = 1
        try:
            os.chdir(self.folder)
            sys.path.insert(0, str(self.folder))
            os.environ["PYTHONPATH"] = str(self.folder)
            nowhere = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            import pytest

            files = [f"tests/{test}" for test in tests]
            code = int(pytest.main([*OPTIONS, *files], plugins=[plugin])) and 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _outcome(self, run: Callable[[], NoReturn], limit: float) -> str:
        """What becomes of a fork that runs it, within seconds."""
        temporary = self.folder / "temporary"
        temporary.mkdir()
        child = os.fork()
        if not child:
            os.setsid()  # what it starts ends with it
            os.environ["PYTEST_DEBUG_TEMPROOT"] = str(temporary)
            run()
        end = time.monotonic() + limit
        done, status = os.waitpid(child, os.WNOHANG)
        while not done and time.monotonic() < end:
            time.sleep(0.01)
            done, status = os.waitpid(child, os.WNOHANG)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not done:
            os.waitpid(child, 0)
        shutil.rmtree(temporary, ignore_errors=True)
        return CODES.get(os.waitstatus_to_exitcode(status), KILLED) if done else TIMED_OUT


class Seen:
    """What is known of the tests of a row: how long each takes, what it reaches, what it found.

    As a plugin of pytest it puts the quick ones, and those that found something, first.
    """

    def __init__(self) -> None:
        self.tests: dict[str, float] = {}
        self.lines: dict[str, dict[str, set[int]]] = {}
        self.found: Counter[str] = Counter()

    @property
    def seconds(self) -> float:
        return sum(self.tests.values())

    def take(self, row: dict[str, Any]) -> None:
        self.tests.update(row.get("tests", {}))
        for module, tests in row.get("lines", {}).items():
            self.lines[module] = {test: set(lines) for test, lines in tests.items()}
        self.found.update(row.get("found", ()))

    def cost(self, test: str) -> float:
        return self.tests.get(test, 0.0) / (1 + self.found[test])

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self.cost(item.nodeid))


class Collected:
    """A plugin of pytest: in place of one run of what was collected, a run for each mutant."""

    def __init__(self, bench: Bench, seen: Seen, mutants: list[Mutant], report: Any) -> None:
        self.bench, self.seen, self.mutants, self.report = bench, seen, mutants, report
        self.notes = bench.folder / "notes"

    def pytest_runtestloop(self, session: Any) -> bool:
        outcome = self.bench._outcome(lambda: self._measure(session), 900)
        if outcome != SURVIVED:
            return True
        self._tell(json.loads(self.notes.read_text("utf-8")))
        for number, mutant in enumerate(self.mutants):
            started = time.monotonic()
            outcome = self._one(session, mutant)
            self._tell([number, outcome, time.monotonic() - started])
        return True

    def _tell(self, row: Any) -> None:
        if isinstance(row, dict):
            self.seen.take(row)
        self.report.write(json.dumps(row) + "\n")
        self.report.flush()

    def _measure(self, session: Any) -> NoReturn:
        """How long each test takes without a mutant, and which lines of each module it reaches."""
        from coverage import Coverage

        paths = {mutant.module: str(self.bench.folder / mutant.module) for mutant in self.mutants}
        coverage = Coverage(config_file=False, data_file=None, include=[*paths.values()])
        coverage.set_option("run:disable_warnings", ["no-data-collected"])  # of other processes
        coverage.start()
        tests = {}
        for item in session.items:
            coverage.switch_context(item.nodeid)
            started = time.monotonic()
            self._run(session, [item])
            tests[item.nodeid] = round(time.monotonic() - started, 4)
        coverage.stop()
        lines: dict[str, dict[str, list[int]]] = {module: {} for module in paths}
        for module, path in paths.items():
            for line, names in coverage.get_data().contexts_by_lineno(path).items():
                for test in names:
                    lines[module].setdefault(test, []).append(line)
        self.notes.write_text(json.dumps({"tests": tests, "lines": lines}), "utf-8")
        self._end(0)

    def _one(self, session: Any, mutant: Mutant) -> str:
        path, source = str(self.bench.folder / mutant.module), self.bench.source(mutant.module)
        changed = replacements(path, source, mutant.code)
        is_imported = any(
            getattr(module, "__file__", None) == path for module in list(sys.modules.values())
        )
        lines = self.seen.lines[mutant.module]
        reached = {line for code in changed or () for _, _, line in code.co_lines() if line}
        chosen = [
            item
            for item in session.items
            if not (changed and is_imported) or lines.get(item.nodeid, set()) & reached
        ]
        chosen.sort(
            key=lambda item: (
                mutant.line not in lines.get(item.nodeid, ()),
                self.seen.cost(item.nodeid),
            )
        )
        limit = 10 + 3 * sum(self.seen.tests[item.nodeid] for item in chosen)
        self.bench.write(mutant.module, mutant.code)  # for processes that tests start
        self.notes.write_text("", "utf-8")
        outcome = self.bench._outcome(
            lambda: self._try(session, mutant, path, changed if is_imported else None, chosen),
            limit,
        )
        self.bench.write(mutant.module, source)
        self._tell({"found": self.notes.read_text("utf-8").split("\n")[:-1]})
        return outcome

    def _try(
        self,
        session: Any,
        mutant: Mutant,
        path: str,
        changed: dict[CodeType, CodeType] | None,
        items: Any,
    ) -> NoReturn:
        try:
            if changed:
                swap(changed)
            elif not renew(path, mutant.code):
                self._end(3)
        except Exception:
            self._end(3)
        self._run(session, items)
        self._end(0)

    def _run(self, session: Any, items: list[Any]) -> None:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                with self.notes.open("a", encoding="utf-8") as notes:
                    notes.write(f"{item.nodeid}\n")
                self._end(1)

    def _end(self, code: int) -> NoReturn:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
