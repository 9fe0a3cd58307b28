"""Does an allowed call take more steps than it did, or than it may? Counts, does not time.

`python benchmarks/instructions.py` counts two things:

- **opcodes**: the interpreter's own instructions that the guard adds, and the calls into functions
  that are written in C, which an opcode hides. Both are the same in each run on each machine, for a
  given minor version of Python. It fails where a count is more than the tolerance above the stored
  one (`instructions.json`; the tolerance is for differences between releases of the SDK);
  `--store` writes what it counted.
- **machine instructions** of a whole mocked call, by valgrind's callgrind (see `callgrind.py`), as
  a share of the same call without the guard. They see into the C functions too. It fails where a
  share is above its target. Skipped where valgrind is missing.

`--only on-sync` counts that row alone, `--only opcodes` only the opcodes; `--profile` prints where
the added instructions are: by C function of the interpreter, and the opcodes by Python function.

An opcode count is the difference between 2 N and N calls, divided by N: what happens only once
falls out. From it the count of the same call without the guard is taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import callgrind
import hot_path
import stage

import openai_project_guard as opg

STORED = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.10
CALLS = 50
PROFILED_FROM = 200
"""Instructions a call: what a C function adds less than that, is not printed."""
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
        made = stage.client(is_async=is_async)
        request, sends = stage.marked_request(made), hot_path.Sends(made, is_async=is_async)
        create = _creations(stage.mocked_client(is_async=is_async), is_async=is_async)
        for case, run_bare, run in (
            (
                "_send_single_request",
                _hand_overs(sends.bare, request, is_async=is_async),
                _hand_overs(sends.guarded, request, is_async=is_async),
            ),
            ("chat.completions.create", create, create),
        ):
            bare = per_call(run_bare)
            opg.enable(registry={stage.PROJECT: stage.KEY})
            try:
                guarded = per_call(run)
            finally:
                opg.disable()
            found[f"{kind} {case}, opcodes"] = guarded[0] - bare[0]
            found[f"{kind} {case}, calls into C"] = guarded[1] - bare[1]
    return found


def _hand_overs(send: stage.Send, request: Any, *, is_async: bool) -> Callable[[int], object]:
    async def wait(calls: int) -> None:
        for _ in range(calls):
            await send(request)

    def run(calls: int) -> None:
        for _ in range(calls):
            send(request)

    return _either(wait, run, is_async=is_async)


def _creations(made: Any, *, is_async: bool) -> Callable[[int], object]:
    async def wait(calls: int) -> None:
        for _ in range(calls):
            await made.chat.completions.create(**stage.QUESTION)

    def run(calls: int) -> None:
        for _ in range(calls):
            made.chat.completions.create(**stage.QUESTION)

    return _either(wait, run, is_async=is_async)


def _either(wait: Any, run: Callable[[int], None], *, is_async: bool) -> Callable[[int], object]:
    if not is_async:
        return run
    loop = asyncio.new_event_loop()
    return lambda calls: loop.run_until_complete(wait(calls))


def opcodes_by_function(*, is_async: bool) -> Counter[str]:
    """The opcodes of a whole allowed call with the guard, by the function of ours they are in."""
    found: Counter[str] = Counter()
    ours = opg.__file__.rpartition("__init__")[0]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        # What is not ours the call does without us too.
        if not code.co_filename.startswith(ours):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            found[f"{code.co_filename[len(ours) :]}:{code.co_firstlineno} {code.co_name}"] += 1
        return trace

    run = _creations(stage.mocked_client(is_async=is_async), is_async=is_async)
    opg.enable(registry={stage.PROJECT: stage.KEY})
    try:
        run(2)
        before = sys.gettrace()
        sys.settrace(trace)
        run(1)
        sys.settrace(before)
    finally:
        opg.disable()
    return found


def check_opcodes(*, store: bool) -> bool:
    """Counts, compares and prints; whether nothing grew beyond the tolerance."""
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
    if store:
        stored[VERSION] = {name: round(figure, 1) for name, figure in found.items()}
        STORED.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return True
    if not known:
        print(f"No figures are stored for Python {VERSION}: run it once with --store.")
    if grown:
        print("An allowed call costs more than it did. If that is meant, run with --store.")
    return not grown


def check_instructions(rows: list[str], *, profile: bool) -> bool:
    """Counts the machine instructions and prints them; whether every target is met."""
    if not callgrind.is_available():
        print(f"machine instructions of {', '.join(rows)}: skipped, valgrind is not installed")
        return True
    kinds = dict.fromkeys(row.partition("-")[2] for row in rows)
    counts = callgrind.count({*rows, *(f"bare-{kind}" for kind in kinds)})
    is_met = True
    for row in rows:
        state, _, kind = row.partition("-")
        bare, counted_row = counts[f"bare-{kind}"], counts[row]
        if state == "bare":
            print(f"{row}: {bare.instructions:,.0f} instructions a call")
            continue
        added = counted_row.instructions - bare.instructions
        share, target = added / bare.instructions, callgrind.TARGETS[state]
        is_met = is_met and share <= target
        print(
            f"{row}: {added:+,.0f} instructions a call, {share:.2%} of the bare call; "
            f"target {target:.2%}: {'met' if share <= target else 'MISSED'}"
        )
        if profile:
            _print_profile(bare, counted_row, kind if state == "on" else None)
    return is_met


def _print_profile(bare: callgrind.Count, guarded: callgrind.Count, kind: str | None) -> None:
    added = Counter(guarded.functions)
    added.subtract(bare.functions)
    for name, figure in sorted(added.items(), key=lambda item: -abs(item[1])):
        if abs(figure) >= PROFILED_FROM:
            print(f"    {figure:+10,.0f}  {name}")
    if kind is not None:
        for name, number in opcodes_by_function(is_async=kind == "async").most_common():
            print(f"    {number:10,} opcodes  {name}")


def main() -> int:
    """Counts and compares. Exit status 1 where something grew, or a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", action="store_true", help="keep the opcodes for next time")
    names = ("opcodes", *callgrind.ROWS)
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--profile", action="store_true", help="where the instructions are")
    arguments = parser.parse_args()
    wanted = arguments.only or names
    is_good = True
    if "opcodes" in wanted:
        is_good = check_opcodes(store=arguments.store)
    rows = [row for row in callgrind.ROWS if row in wanted]
    if rows:
        is_good = check_instructions(rows, profile=arguments.profile) and is_good
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
