"""Runs the tests on changed code: `nox -s mutants -- _keys _check/verdict --sample 40 --seed 1`.

What the tests need is imported once; each mutant gets a fork of that process: see bench.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mutants.bench import PACKAGE, ROOT, Bench
from mutants.mutations import Mutant, mutants_of
from mutants.plan import is_whole, tests_for

EQUIVALENT = Path(__file__).with_name("equivalent.json")
FOR_THE_TESTS = ("pytest", "hypothesis", "hypothesis.strategies", "anyio", "coverage", "openai")
OF_THE_SDK = ("openai.resources.chat", "httpx2", "httpx", "websockets.sync.client", "aiohttp")


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
    for row in rows:
        lines = map(str.strip, (ROOT / row["module"]).read_text("utf-8").splitlines())
        if row["before"] and row["before"] not in lines:
            sys.exit(f"{EQUIVALENT.name}: {row['module']} has no such line: {row['before']}")
    return {(row["module"], row["before"], row["after"]): row["reason"] for row in rows}


def outcomes(
    mutants: list[Mutant], bench: Bench, is_quick: bool
) -> Iterator[tuple[Mutant, str, float]]:
    """Each mutant, what became of it, and the seconds that took."""
    known = equivalents()
    by_tests: dict[tuple[str, ...], list[Mutant]] = {}
    for mutant in sorted(mutants, key=lambda mutant: mutant.module):
        if (mutant.module, mutant.before, mutant.after) in known:
            yield mutant, "equivalent", 0.0
            continue
        tests = tests_for(mutant.module.removeprefix(f"{PACKAGE}/"))
        by_tests.setdefault(tuple(tests), []).append(mutant)
    for tests, of_row in by_tests.items():
        there = [t for t in tests if (bench.folder / "tests" / t.partition("::")[0]).exists()]
        yield from bench.outcomes(of_row, there, is_quick=is_quick)


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s mutants --", description=__doc__)
    parser.add_argument("rooms", nargs="*", help="beginnings of paths in the package; default: all")
    parser.add_argument("--sample", type=int, help="so many at most of all, and as many elsewhere")
    parser.add_argument("--elsewhere", action="store_true", help="only the sample of the others")
    parser.add_argument("--seed", type=int, default=1, help="of the sample; default: 1")
    parser.add_argument("--matching", default="", help="only mutants with this text in their line")
    parser.add_argument("--again", type=Path, help="only where this earlier output has survivors")
    parser.add_argument("--quick", action="store_true", help="do not look at survivors again")
    parser.add_argument("--list", action="store_true", help="name them and run nothing")
    options = parser.parse_args()
    modules = wanted(options.rooms)
    if options.elsewhere:
        modules = [module for module in modules if not is_whole(module)]
    mutants = chosen(modules, options.sample, options.seed)
    mutants = [mutant for mutant in mutants if options.matching in mutant.before]
    if options.again:
        lines = options.again.read_text("utf-8").splitlines()
        names = {line.split("  ")[-1] for line in lines if line.startswith("survived")}
        mutants = [mutant for mutant in mutants if mutant.name in names]
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name}\n  - {mutant.before}\n  + {mutant.after}")
        return 0
    for name in (*FOR_THE_TESTS, *OF_THE_SDK):
        with suppress(ImportError):
            importlib.import_module(name)
    from hypothesis import Phase, settings

    # What fails is not made smaller, which takes long, and not kept.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutants", phases=phases, database=None, deadline=None)
    settings.load_profile("mutants")
    assert PACKAGE not in sys.modules
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for mutant, outcome, seconds in outcomes(mutants, Bench(Path(folder)), options.quick):
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
    killed = count["killed"] + count["timed out"]
    told = killed + count["survived"]
    rate = 100 * killed / told if told else 100.0
    by_time = f", {count['timed out']} of them by time" if count["timed out"] else ""
    rate_killed = f"{killed:4} of {told:4} killed ({rate:5.1f} %)"
    return f"{rate_killed}{by_time}, {count['equivalent']:2} equivalent"


if __name__ == "__main__":
    sys.exit(main())
