"""Runs the tests on changed code: `nox -s mutants -- _keys _check/verdict --sample 40 --seed 1`.

What the tests need is imported once, and each mutant gets a fork of that process in a copy of the
tree, so that it costs its tests and little else.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
sys.path.insert(0, str(TESTS))

from mutants.mutations import Mutant, mutants_of  # noqa: E402
from mutants.plan import is_whole, tests_for  # noqa: E402

PACKAGE = "openai_project_guard"
EQUIVALENT = Path(__file__).with_name("equivalent.json")
FOR_THE_TESTS = ("pytest", "hypothesis", "hypothesis.strategies", "anyio", "openai")
OF_THE_SDK = ("openai.resources.chat", "httpx2", "httpx", "websockets.sync.client", "aiohttp")


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

    def write(self, module: str, code: str) -> None:
        """Compiled code is told from stale by the second and the size, so each gets its second."""
        path = self.folder / module
        path.write_text(code, "utf-8")
        self._moment += 2
        os.utime(path, (self._moment, self._moment))

    def is_good(self, tests: list[str], limit: float) -> bool:
        """Whether the tests pass, in a fork of this process, within seconds."""
        child = os.fork()
        if not child:
            self._run(tests)
        end = time.monotonic() + limit
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status == 0
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False

    def _run(self, tests: list[str]) -> None:
        os.setsid()  # what it starts ends with it
        code = 1
        try:
            os.chdir(self.folder)
            sys.path.insert(0, str(self.folder))
            os.environ["PYTHONPATH"] = str(self.folder)
            nowhere = os.open(self.folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            import pytest

            options = [
                "-x",
                "-q",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:randomly",
                "--tb=short",
                "--show-capture=no",
            ]
            options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # imported before
            code = pytest.main([*options, *(f"tests/{test}" for test in tests)])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(code))


def wanted(rooms: list[str]) -> list[str]:
    """The modules whose path inside the package begins with one of these."""
    modules = sorted(
        str(path.relative_to(ROOT / PACKAGE)) for path in (ROOT / PACKAGE).rglob("*.py")
    )
    return [module for module in modules if not rooms or module.startswith(tuple(rooms))]


def chosen(modules: list[str], sample: int | None, seed: int) -> list[Mutant]:
    """All mutants of what is mutated whole, and a sample of the others'."""
    whole: list[Mutant] = []
    others: list[Mutant] = []
    for module in modules:
        (whole if is_whole(module) else others).extend(mutants_of(ROOT, f"{PACKAGE}/{module}"))
    some = random.Random(seed)
    if sample is not None:
        whole = some.sample(whole, min(sample, len(whole)))
    number = 150 if sample is None else sample
    return [*whole, *some.sample(others, min(number, len(others)))]


def equivalents() -> dict[tuple[str, str, str], str]:
    """Why a mutant cannot be told from the code, by module, line before, line after."""
    rows = json.loads(EQUIVALENT.read_text("utf-8"))
    return {(row["module"], row["before"], row["after"]): row["reason"] for row in rows}


def outcomes(mutants: list[Mutant], bench: Bench) -> Iterator[tuple[Mutant, str, float]]:
    """Each mutant, what became of it, and the seconds that took."""
    known = equivalents()
    limits: dict[str, float] = {}
    for mutant in sorted(mutants, key=lambda mutant: mutant.module):
        module = mutant.module.removeprefix(f"{PACKAGE}/")
        tests = [test for test in tests_for(module) if (bench.folder / "tests" / test).exists()]
        source = (ROOT / mutant.module).read_text("utf-8")
        if mutant.module not in limits:
            started = time.monotonic()
            if not bench.is_good(tests, 900):
                print((bench.folder / "output").read_text("utf-8")[-3000:])
                sys.exit(f"The tests for {module} fail without a mutant.")
            limits[mutant.module] = 30 + 4 * (time.monotonic() - started)
        started = time.monotonic()
        if (mutant.module, mutant.before, mutant.after) in known:
            yield mutant, "equivalent", 0.0
            continue
        bench.write(mutant.module, mutant.code)
        try:
            killed = not bench.is_good(tests, limits[mutant.module])
        finally:
            bench.write(mutant.module, source)
        yield mutant, "killed" if killed else "survived", time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s mutants --", description=__doc__)
    parser.add_argument("rooms", nargs="*", help="beginnings of paths in the package; default: all")
    parser.add_argument("--sample", type=int, help="so many at most of all, and as many elsewhere")
    parser.add_argument("--seed", type=int, default=1, help="of the sample; default: 1")
    parser.add_argument("--matching", default="", help="only mutants with this text in their line")
    parser.add_argument("--list", action="store_true", help="name them and run nothing")
    options = parser.parse_args()
    mutants = chosen(wanted(options.rooms), options.sample, options.seed)
    mutants = [mutant for mutant in mutants if options.matching in mutant.before]
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name}\n  - {mutant.before}\n  + {mutant.after}")
        return 0
    for name in (*FOR_THE_TESTS, *OF_THE_SDK):
        with suppress(ImportError):
            importlib.import_module(name)
    assert PACKAGE not in sys.modules
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for mutant, outcome, seconds in outcomes(mutants, Bench(Path(folder))):
            counts.setdefault(mutant.module, Counter())[outcome] += 1
            print(f"{outcome:10} {seconds:5.1f} s  {mutant.name}", flush=True)
            if outcome == "survived":
                print(f"    - {mutant.before}\n    + {mutant.after}", flush=True)
    print_summary(counts)
    return 1 if any(count["survived"] for count in counts.values()) else 0


def print_summary(counts: dict[str, Counter[str]]) -> None:
    total: Counter[str] = Counter()
    for module, count in sorted(counts.items()):
        total += count
        print(f"{share(count)}  {module.removeprefix(PACKAGE + '/')}")
    print(f"{share(total)}  in all")


def share(count: Counter[str]) -> str:
    told = count["killed"] + count["survived"]
    rate = 100 * count["killed"] / told if told else 100.0
    killed = f"{count['killed']:4} of {told:4} killed ({rate:5.1f} %)"
    return f"{killed}, {count['equivalent']:2} equivalent"


if __name__ == "__main__":
    sys.exit(main())
