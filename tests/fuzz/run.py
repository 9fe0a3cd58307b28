"""Feeds mangled input to whatever reads input: `nox -s fuzz -- --minutes 5 "registry text"`.

Reports what raises anything but our own errors, what shows a key, and what takes over 100 ms of
processor time three times in a row. What was found is tried first in the next run.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from fuzz.targets import TARGETS, Target  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis.database import DirectoryBasedExampleDatabase  # noqa: E402

SLOW = 0.1  # seconds of processor time
BATCH = 300


class Fuzzing:
    """One target's run."""

    def __init__(self, name: str, target: Target, folder: Path) -> None:
        self.name, self.target = name, target
        self.folder = folder / name.replace(" ", "-")
        self.inputs, self.slowest, self.slow = 0, 0.0, 0

    def one(self, value: Any) -> None:
        taken = []
        for _ in range(3):
            started = time.thread_time()
            self.target.check(value)
            taken.append(time.thread_time() - started)
            if taken[-1] < SLOW:
                break
        self.inputs += 1
        self.slowest = max(self.slowest, min(taken))
        if min(taken) > SLOW:
            self.slow += 1
            print(f"{self.name}: {min(taken):.2f} s for {repr(value)[:300]}")

    def run(self, seconds: float, first_seed: int) -> bool:
        """Whether nothing was found."""
        end = time.monotonic() + seconds
        number = first_seed
        while time.monotonic() < end:
            batch = settings(
                max_examples=BATCH,
                deadline=None,
                database=DirectoryBasedExampleDatabase(self.folder),
                phases=[Phase.reuse, Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            try:
                seed(number)(batch(given(self.target.inputs)(self.one)))()
            except Exception:
                print(f"{self.name}, seed {number}:")
                traceback.print_exc(limit=-4, file=sys.stdout)
                return False
            number += 1
        return not self.slow


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s fuzz --", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=5, help="for all together; default: 5")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: another")
    parser.add_argument("--found", default=".fuzz", help="folder for what was found")
    options = parser.parse_args()
    found = Path(options.found).absolute()
    logging.getLogger("openai_project_guard").setLevel(logging.CRITICAL)
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        del os.environ[name]
    names = options.targets or list(TARGETS)
    is_good = True
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in names:
            fuzzing = Fuzzing(name, TARGETS[name], found)
            is_good &= fuzzing.run(60 * options.minutes / len(names), options.seed)
            print(
                f"{name}: {fuzzing.inputs} inputs, the slowest {1000 * fuzzing.slowest:.1f} ms",
                flush=True,
            )
        os.chdir("/")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
