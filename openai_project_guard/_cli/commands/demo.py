"""The command `demo`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, PROGRAM
from openai_project_guard._cli.demo import OK
from openai_project_guard._cli.demo.runner import Result, run_scenarios
from openai_project_guard._cli.output import Cell, Terminal
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._keys import hint


def add_arguments(parser: Parser) -> None:
    parser.add_flags(json="print the results as JSON")


def run(args: argparse.Namespace) -> int:
    """Runs every scenario and prints what happened."""
    results = run_scenarios()
    if args.json:
        Terminal().json([_as_json(result) for result in results])
    else:
        _show(results, Terminal())
    return NOT_IN_ORDER if any(result.problems for result in results) else GOOD


def _show(results: list[Result], terminal: Terminal) -> None:
    import openai

    from openai_project_guard._cli.demo.scenarios import CHAT, LAB, OLD, A, B, C

    terminal.paragraph(
        f"A program of project {CHAT} makes these calls through openai {openai.__version__}, to a "
        "server on this machine that answers and bills as the API does: first without the guard, "
        "then with it."
    )
    terminal.line()
    for name, key, project, note in (
        ("A", A, CHAT, ""),
        ("B", B, LAB, ""),
        ("C", C, OLD, ", and is not registered"),
    ):
        terminal.paragraph(f" key {name}, {hint(key)}, belongs to {project}{note}")
    terminal.line()
    terminal.table(
        ("Call", "Without guard", "Billed", "With the guard", "Bytes out"),
        [_row(result) for result in results],
    )
    terminal.line()
    failed = [result for result in results if result.problems]
    if failed:
        terminal.line(
            f"{len(failed)} of {len(results)} scenarios did not come out as expected:", "red"
        )
        for result in failed:
            for problem in result.problems:
                terminal.paragraph(f"{result.scenario.call}: {problem}")
        return
    refused = [result for result in results if result.scenario.is_refused]
    misbilled = sum(result.without.billed is not None for result in refused)
    terminal.paragraph(
        f"{len(results)} scenarios, all as expected: {len(refused)} wrong calls were refused "
        f"before a byte left. Without the guard {len(refused) - misbilled} of them were answered "
        f"401 after a round trip, and {misbilled} were billed to another project than the "
        "program's.",
        "green",
    )
    terminal.paragraph(
        f"Next: {PROGRAM} register PROJECT, which asks for your key; then {PROGRAM} run -- "
        "python app.py, which runs your program under the guard."
    )


def _row(result: Result) -> tuple[Cell, ...]:
    without, guarded, is_refused = result.without, result.guarded, result.scenario.is_refused
    status = without.answer.split()[0]
    is_right = status == OK and not is_refused
    first = Cell(f"✓ {status}", "green") if is_right else Cell(f"✗ {status}", "red")
    if status == OK:
        payer = Cell(str(without.billed), "red" if is_refused else "")
    else:
        payer = Cell("nobody", "dim")
    answer = guarded.answer
    if not (result.problems or is_refused):
        is_filled = guarded.project_header != without.project_header
        answer += f", {'header put in' if is_filled else guarded.billed}"
    last = Cell(f"✗ {answer}", "red") if result.problems else Cell(f"✓ {answer}", "green")
    return Cell(result.scenario.call), first, payer, last, Cell(str(guarded.bytes))


def _as_json(result: Result) -> dict[str, object]:
    return {
        "call": result.scenario.call,
        "without_guard": asdict(result.without),
        "with_guard": asdict(result.guarded),
        "as_expected": not result.problems,
        "problems": result.problems,
    }
