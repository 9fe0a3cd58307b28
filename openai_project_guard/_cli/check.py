"""`check`: would a default `OpenAI()` in this environment pass?"""

from __future__ import annotations

import argparse
import json

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, UNUSABLE, report
from openai_project_guard._cli.mistakes import Mistake, recognise
from openai_project_guard._cli.situation import Situation, look_around
from openai_project_guard._cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `check`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "One call of a default client is made in this process; nothing leaves it. It is\n"
        "judged by the environment's settings, in inject mode if OPENAI_PROJECT_GUARD\n"
        "says so, else as enforce would. What the guard does not look at does not pass.\n\n"
        "--json prints one object:\n"
        '  "passes":    true | false\n'
        f"{report.JSON_HELP}\n"
        "Exit status: 0 it passes, 1 it does not, 2 the configuration is not in order."
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--live", action="store_true", help="ask the API too, with one call")


def run(args: argparse.Namespace) -> int:
    """Checks, and says what came of it.

    Returns:
        0 if the call passes, 1 if it does not, 2 if there is nothing to judge.
    """
    situation = look_around(live=args.live)
    mistakes = recognise(situation)
    passes = situation.passes and not any(mistake.is_wrong for mistake in mistakes)
    if args.json:
        told = {"passes": passes, **report.as_json(situation, mistakes)}
        Terminal().line(json.dumps(told, indent=2))
    else:
        _show(situation, mistakes, Terminal())
    if not situation.is_usable:
        report.tell_error(situation, mistakes, is_json=args.json)
        return UNUSABLE
    return GOOD if passes else NOT_IN_ORDER


def _show(situation: Situation, mistakes: list[Mistake], terminal: Terminal) -> None:
    if not situation.is_usable:
        terminal.paragraph("✗ There is nothing to judge.", "red")
    else:
        report.show_verdict(situation, terminal, is_in_order=not any(m.is_wrong for m in mistakes))
    wrong = [mistake for mistake in mistakes if mistake.is_wrong]
    report.show_mistakes(wrong or ([] if situation.passes else mistakes), terminal)
