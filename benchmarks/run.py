"""What the guard costs, against the targets: `python benchmarks/run.py`.

Every figure is a ratio of two things measured in the same run, in turns (`rounds.py` says how), or
a number of bytes. A run takes some minutes; `--quick` takes one and is coarser.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path

import stage
from rows import Row

_CPU = Path("/proc/cpuinfo")


def _call_and_idle(quick: bool) -> Iterable[Row]:
    import hot_path

    return hot_path.call_and_idle(turns=300 if quick else 600, processes=3 if quick else 9)


def _tracing(quick: bool) -> Iterable[Row]:
    import tracing

    return (tracing.row(repeats=1 if quick else 3, turns=300 if quick else 1_000),)


def _big_registry(quick: bool) -> Iterable[Row]:
    import hot_path

    return (hot_path.big_registry(turns=300 if quick else 1_500),)


def _memory(quick: bool) -> Iterable[Row]:
    import registries

    return (registries.memory(200_000 if quick else 1_000_000),)


def _load(quick: bool) -> Iterable[Row]:
    import registries

    return (registries.loading(turns=5 if quick else 25),)


def _reload(quick: bool) -> Iterable[Row]:
    import registries

    return (registries.reload(repeats=3 if quick else 9),)


def _start_up(quick: bool) -> Iterable[Row]:
    import imports

    return imports.start_up(turns=8 if quick else 40)


def _throughput(quick: bool) -> Iterable[Row]:
    import throughput

    return (throughput.throughput(turns=8 if quick else 25),)


def _audit(quick: bool) -> Iterable[Row]:
    import audits

    return (audits.audit(turns=2_000 if quick else 10_000),)


MEASUREMENTS: dict[tuple[str, ...], Callable[[bool], Iterable[Row]]] = {
    ("call", "idle"): _call_and_idle,
    ("tracing",): _tracing,
    ("big-registry",): _big_registry,
    ("memory",): _memory,
    ("load",): _load,
    ("reload",): _reload,
    ("import-off", "import-on"): _start_up,
    ("throughput",): _throughput,
    ("audit",): _audit,
}
ORDER = (
    "call",
    "tracing",
    "big-registry",
    "memory",
    "load",
    "reload",
    "import-off",
    "import-on",
    "idle",
    "throughput",
    "audit",
)


def machine() -> str:
    """Processor, system, Python and SDK, and how busy it is."""
    import openai

    model = platform.machine()
    if _CPU.exists():
        lines = _CPU.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = f"{len(names)} x {names[0]}" if names else model
    return (
        f"{model}, {platform.system()}, Python {platform.python_version()}, "
        f"openai {openai.__version__}; load average {os.getloadavg()[0]:.1f}"
    )


def _table(rows: list[Row]) -> str:
    lines = [("what", "target", "measured", "")]
    lines += [(row.what, row.target_text(), row.measured_text(), row.verdict) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]
        )
        for line in lines
    )


def _markdown(rows: list[Row]) -> str:
    lines = ["| what | target | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {row.what} | {row.target_text()} | {row.measured_text()} | {row.verdict} |"
        for row in rows
    ]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and coarser rounds")
    parser.add_argument(
        "--only", action="append", choices=ORDER, metavar="NAME", help=", ".join(ORDER)
    )
    parser.add_argument("--details", action="store_true", help="how each figure came about")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", action="store_true", help="for docs/charts.py")
    return parser.parse_args()


def main() -> int:
    """Measures and prints. Exit status 1 where a target is missed."""
    arguments = _arguments()
    wanted = arguments.only or ORDER
    found: dict[str, Row] = {}
    for names, measure in MEASUREMENTS.items():
        if any(name in wanted for name in names):
            print(f"measuring: {' and '.join(names)} …", file=sys.stderr, flush=True)
            found.update({row.name: row for row in measure(arguments.quick)})
    rows = [found[name] for name in ORDER if name in wanted]
    if arguments.json:
        plain = [
            {**asdict(replace(row, measured=dict(row.measured))), "met": row.is_met} for row in rows
        ]
        found_on = {"machine": machine(), "is_quick": arguments.quick}
        print(json.dumps({**found_on, "rows": plain}, indent=2, ensure_ascii=False))
    elif arguments.markdown:
        print(f"{_markdown(rows)}\n\n{machine()}")
    else:
        print(f"{machine()}\n\n{_table(rows)}")
        if arguments.details:
            for row in rows:
                print("\n".join([f"\n{row.name}", *(f"  {line}" for line in row.details)]))
    return 1 if any(row.is_met is False for row in rows) else 0


if __name__ == "__main__":
    assert stage.ROOT
    sys.exit(main())
