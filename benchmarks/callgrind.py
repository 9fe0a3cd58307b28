"""Machine instructions of a mocked `chat.completions.create`, counted by valgrind's callgrind.

`instructions.py` prints what this module counts. A row is one state of the guard with one client:

- `bare`: the guard's hooks were in and are out again, so the SDK is as it was before;
- `idle`: the hooks are in and nothing is in force, as after the first `guard` scope was left;
- `on`: enforcing, with a registry that knows the key.

One process imports everything under callgrind and then forks, twice for each row: for 60 calls and
for 160. A call's count is a hundredth of the difference, so whatever happens once falls out: the
start, the first calls, the interpreter's specializing of warm code. The counts are the same in
each run, but for some tens of instructions, for the memory's layout is not left to chance:

- Every row starts from the very same memory image, and valgrind hands out the same addresses in
  each run, so hashes by address are the same too; `PYTHONHASHSEED=0` does it for strings.
- argv and environment, which lie in the same memory, are the same bytes whichever rows are asked
  for, and the bytecode of all modules is written before.
- The garbage collector does not run by itself, where one collection more or less would be a
  difference, but after every 20th call, and passes over what was there before: what a call leaves
  behind for it is counted, and in every run at the same place.

Between two trees, or two machines, the layout does differ, and a call with it, by some thousands:
what malloc() finds free decides which way it goes. A tenth of a percent says nothing.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROWS = tuple(f"{state}-{kind}" for kind in ("sync", "async") for state in ("bare", "idle", "on"))
TARGETS = {"idle": 0.0015, "on": 0.010}
"""The share of the bare call that the guard may add."""

FEW, MANY, BATCH = 60, 160, 20


@dataclass
class Count:
    """What one call takes in one row.

    Attributes:
        instructions: machine instructions, all in all.
        functions: the same by C function, without what it calls.
    """

    instructions: float
    functions: dict[str, float]


def is_available() -> bool:
    """Whether valgrind is installed."""
    return shutil.which("valgrind") is not None


def count(rows: Iterable[str]) -> dict[str, Count]:
    """Counts the rows of these names."""
    wanted = "".join("1" if row in rows else "0" for row in ROWS)
    environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
    command = [sys.executable, __file__]
    # Every row's calls once, without valgrind: whatever they import has its bytecode written then.
    subprocess.run([*command, "2" * len(ROWS)], env=environment, check=True)
    with tempfile.TemporaryDirectory(prefix="callgrind") as folder:
        valgrind = ["valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=%p"]
        subprocess.run([*valgrind, *command, wanted], env=environment, cwd=folder, check=True)
        return {
            row: _per_call(Path(folder, f"{row}.{FEW}"), Path(folder, f"{row}.{MANY}"))
            for row in ROWS
            if row in rows
        }


def _per_call(few: Path, many: Path) -> Count:
    once, often = _by_function(few), _by_function(many)
    functions = {
        name: (often[name] - once[name]) / (MANY - FEW)
        for name in often
        if often[name] != once[name]
    }
    return Count(sum(functions.values()), functions)


def _by_function(profile: Path) -> Counter[str]:
    """Reads a profile of callgrind: the cost of each function, without what it calls."""
    found: Counter[str] = Counter()
    names: dict[str, str] = {}
    function, is_of_callee = "", False
    for line in profile.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("fn=", "cfn=")):
            number, _, name = line.partition("=")[2].partition(" ")
            if name:  # without the number of a recursion, `'2`: who calls whom is not asked
                name = name.partition("'")[0]
                names[number] = f"{name} in a library" if name.startswith("0x") else name
            if line[0] == "f":
                function = names[number]
        elif line.startswith("calls="):
            is_of_callee = True  # the next line is what the callee cost
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if not is_of_callee:
                found[function] += int(line.split()[1])
            is_of_callee = False
    return found


# --- under valgrind -----------------------------------------------------------------------------


def _work(wanted: str) -> None:
    """Forks for each row that is wanted."""
    import stage

    import openai_project_guard as opg

    clients = {is_async: stage.mocked_client(is_async=is_async) for is_async in (False, True)}
    wrong = stage.client(is_async=False, project="proj_of_somebody_else")
    hooked = [
        (stage.owner_of(type(each), method), method)
        for client in clients.values()
        for each, method in ((client, "_build_request"), (client._client, "_send_single_request"))
    ]
    originals = [vars(owner)[method] for owner, method in hooked]
    with opg.guard():  # what it imports must not be what makes the rows' memory differ
        pass
    opg.disable()
    for row, is_wanted in zip(ROWS, wanted, strict=True):
        for calls in {"0": (), "1": (FEW, MANY), "2": (BATCH,)}[is_wanted]:
            child = os.fork()
            if child:
                _, status = os.waitpid(child, 0)
                if status:
                    sys.exit(f"{row}: the process that makes its calls failed")
                if is_wanted == "1":
                    os.rename(str(child), f"{row}.{calls}")
                continue
            state, _, kind = row.partition("-")
            if state == "idle":
                with opg.guard():
                    pass
            elif state == "on":
                opg.enable("enforce", registry={stage.PROJECT: stage.KEY})
                try:
                    wrong.models.list()
                except opg.ProjectMismatchError:
                    pass
                else:
                    sys.exit("the guard is not in force: nothing was counted")
            for (owner, method), original in zip(hooked, originals, strict=True):
                if (vars(owner)[method] is original) != (state == "bare"):
                    sys.exit(f"{row}: {owner.__name__}.{method} is not as it should be")
            run = _calls(clients[kind == "async"], is_async=kind == "async")
            gc.collect()
            gc.freeze()
            gc.disable()
            for _ in range(calls // BATCH):
                run()
                gc.collect(0)
            os._exit(0)


def _calls(client: object, *, is_async: bool) -> Callable[[], object]:
    """A function that makes a batch of calls."""
    from typing import Any

    import stage

    made: Any = client

    def run() -> None:
        for _ in range(BATCH):
            made.chat.completions.create(**stage.QUESTION)

    async def wait() -> None:
        for _ in range(BATCH):
            await made.chat.completions.create(**stage.QUESTION)

    if not is_async:
        return run
    loop = asyncio.new_event_loop()
    return lambda: loop.run_until_complete(wait())


if __name__ == "__main__":
    _work(sys.argv[1])
