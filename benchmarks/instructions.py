"""Has the road of an allowed call grown longer? Counts instructions, not time.

`python benchmarks/instructions.py` counts, and fails where a count is more than the tolerance above
the stored one (`instructions.json`); `--store` writes what it counted.

What is counted are the interpreter's own instructions (opcodes), and the calls into functions that
are written in C, which an opcode hides. Both are the same in each run on each machine, for a given
minor version of Python: what they say is never noise, so the tolerance is there for differences
between releases of the SDK and of wrapt, not for the machine. `valgrind --tool=callgrind` would
count what happens inside the C functions too, but its figures move by some hundreds of instructions
a call with the order in which memory is handed out, it takes minutes, and it is not everywhere.

The count of a call is the difference between 2 N and N calls, divided by N: what happens only once
falls out. From it the count of the same call without the guard is taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import stage

import openai_project_guard as opg

STORED = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.10
CALLS = 50
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def counted(run: Callable[[], object]) -> tuple[int, int]:
    """The opcodes and the calls into C of a function."""
    opcodes = calls = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal opcodes
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        opcodes += event == "opcode"
        return trace

    def profile(_: FrameType, event: str, __: Any) -> None:
        nonlocal calls
        calls += event == "c_call"

    before = sys.gettrace(), sys.getprofile()
    sys.setprofile(profile)
    run()
    sys.setprofile(before[1])
    sys.settrace(trace)
    run()
    sys.settrace(before[0])
    return opcodes, calls


def per_call(calls: Callable[[int], object]) -> tuple[float, float]:
    """Opcodes and calls into C for one call."""
    calls(2 * CALLS)  # imports, caches, and what the interpreter makes of warm code
    counted(lambda: calls(1))  # Python 3.12 begins to tell opcodes in the second run
    once, twice = counted(lambda: calls(CALLS)), counted(lambda: calls(2 * CALLS))
    return (twice[0] - once[0]) / CALLS, (twice[1] - once[1]) / CALLS


def measure() -> dict[str, float]:
    """What the guard adds to an allowed call, by name of the figure."""
    found: dict[str, float] = {}
    for kind, is_async in (("sync", False), ("async", True)):
        made, request = stage.stubbed_client(is_async=is_async)
        mocked = stage.mocked_client(is_async=is_async)
        for case, run in (
            ("_send_request", _hand_overs(made, request)),
            ("chat.completions.create", _creations(mocked)),
        ):
            bare = per_call(run)
            opg.enable(registry={stage.PROJECT: stage.KEY})
            try:
                guarded = per_call(run)
            finally:
                opg.disable()
            found[f"{kind} {case}, opcodes"] = guarded[0] - bare[0]
            found[f"{kind} {case}, calls into C"] = guarded[1] - bare[1]
    return found


def _hand_overs(made: Any, request: Any) -> Callable[[int], object]:
    async def wait(calls: int) -> None:
        for _ in range(calls):
            await made._send_request(request, stream=False)

    def run(calls: int) -> None:
        for _ in range(calls):
            made._send_request(request, stream=False)

    return _either(wait, run, type(made).__name__)


def _creations(made: Any) -> Callable[[int], object]:
    async def wait(calls: int) -> None:
        for _ in range(calls):
            await made.chat.completions.create(**stage.QUESTION)

    def run(calls: int) -> None:
        for _ in range(calls):
            made.chat.completions.create(**stage.QUESTION)

    return _either(wait, run, type(made).__name__)


def _either(wait: Any, run: Any, name: str) -> Callable[[int], object]:
    if not name.startswith("Async"):
        return run  # type: ignore[no-any-return]
    loop = asyncio.new_event_loop()
    return lambda calls: loop.run_until_complete(wait(calls))


def main() -> int:
    """Counts and compares. Exit status 1 where something grew beyond the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", action="store_true", help="keep the figures for next time")
    arguments = parser.parse_args()
    found = measure()
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    known = stored.get(VERSION, {})
    grown = False
    for name, figure in found.items():
        line = f"{name}: {figure:.1f}"
        if name in known:
            change = figure / known[name] - 1 if known[name] else 0.0
            line += f", stored {known[name]:.1f} ({change:+.1%})"
            if change > TOLERANCE:
                grown = True
                line += f": more than {TOLERANCE:.0%} above it"
        print(line)
    if arguments.store:
        stored[VERSION] = {name: round(figure, 1) for name, figure in found.items()}
        STORED.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return 0
    if not known:
        print(f"No figures are stored for Python {VERSION}: run it once with --store.")
        return 0
    if grown:
        print("An allowed call costs more than it did. If that is meant, run with --store.")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
