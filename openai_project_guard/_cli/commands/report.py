"""The command `report`."""

from __future__ import annotations

import argparse
import sys
from typing import get_args

from openai_project_guard import _env
from openai_project_guard._audit.as_json import as_json
from openai_project_guard._audit.change import has_malformed_key, sent_with
from openai_project_guard._audit.line import Record
from openai_project_guard._audit.summary import (
    KINDS,
    Summary,
    calls_of,
    day,
    is_wrong,
    kind_of,
    read_since,
    summarize,
)
from openai_project_guard._cli import GOOD, NOT_IN_ORDER, UNUSABLE
from openai_project_guard._cli.output import Cell, Terminal, cells, count
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import shown
from openai_project_guard._types import Reason

_STYLES = {"blocked": "red", "warned": "yellow", "drift": "red", "injected": "", "allowed": "green"}
_MOST_IN_ORDER = 50  # rows; the wrong ones are always shown, all of them
_FAIL_ON = (*KINDS[:-1], *(reason for reason in get_args(Reason) if reason != "drift"))


def add_arguments(parser: Parser) -> None:
    parser.epilog = (
        f"Each process keeps an audit where {_env.AUDIT}, enable(audit=...) or run --audit names a "
        "folder. The files of any number of processes and hosts add up. They hold no key, no "
        "prompt and no answer, and may be deleted at any time.\n\n"
        "Changes and calls come worst first; times are UTC. A drift is about a call that is "
        "counted already. Others are calls that were too many to be told apart.\n\n"
        "Exit status: 0; 1 if --fail-on names something that was seen; 2 for bad usage, or if "
        "there is no audit file or one cannot be read."
    )
    parser.add_argument(
        "paths", metavar="DIR", nargs="*", help=f"folder or audit file; default: ${_env.AUDIT}"
    )
    parser.add_argument(
        "--since", metavar="T", help="leave out what ended before: 90m, 24h, 7d or an ISO 8601 time"
    )
    parser.add_flags(json="print it as JSON")
    parser.add_argument(
        "--html", metavar="FILE", help="write it as one page too, which needs nothing else"
    )
    parser.add_argument(
        "--fail-on",
        metavar="WORDS",
        help=f"exit with 1 if a call was one of these, with commas: {', '.join(_FAIL_ON)}",
    )


def run(args: argparse.Namespace) -> int:
    """Reports; what is wrong with the arguments is said before anything is read."""
    words = _words(args.fail_on)
    if args.html == "":
        raise ConfigurationError("--html '' is not the path of a file.")
    since = None if args.since is None else read_since(args.since)
    paths = args.paths or _default_paths()
    summary = summarize(paths, since)
    if not summary.files and not summary.unreadable:
        raise ConfigurationError(f"There is no audit file in {', '.join(paths)}.")
    if args.html is not None:
        _write_page(summary, args.html)
    terminal, errors = Terminal(), Terminal(sys.stderr)
    if args.json:
        terminal.json(as_json(summary))
    else:
        _show(summary, terminal)
    for path, error in summary.unreadable:
        errors.bad(f"{shown(path)[1:-1]} cannot be read: {error}")
    matching = summary.matching(words)
    if matching:
        errors.bad(f"--fail-on {','.join(words)}: {count(matching, 'call')}")
        return NOT_IN_ORDER
    return UNUSABLE if summary.unreadable else GOOD


def _words(given: str | None) -> tuple[str, ...]:
    words = tuple(word.strip().lower() for word in given.split(",")) if given is not None else ()
    if not set(words).issubset(_FAIL_ON):
        raise ConfigurationError(
            f"--fail-on {shown(given)} is not understood. Accepted, with commas between: "
            f"{', '.join(_FAIL_ON)}."
        )
    return words


def _default_paths() -> list[str]:
    folder = _env.path(_env.AUDIT)
    if folder is None:
        raise ConfigurationError(
            f"No folder is named, and {_env.AUDIT} is not set. Name the folder in which the "
            "processes keep their audit: openai-project-guard report DIR"
        )
    return [folder]


def _write_page(summary: Summary, path: str) -> None:
    from openai_project_guard._audit.html import render

    page = render(summary)  # before the one that may be there is emptied
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigurationError(
            f"The page {shown(path)[1:-1]} cannot be written: {reason}."
        ) from None


def _show(summary: Summary, terminal: Terminal) -> None:
    since = "" if summary.since is None else f", since {day(summary.since)}"
    span = f"; {day(summary.first)} to {day(summary.last)} UTC" if summary.records else ""
    number = len(summary.processes)
    processes = f"{number:,} process{'' if number == 1 else 'es'}"
    terminal.paragraph(f"{processes} on {count(len(summary.hosts), 'host')}{since}{span}")
    if summary.records:
        _show_projects(summary, terminal)
        _show_changes(summary, terminal)
        _show_in_order(summary, terminal)
    else:
        terminal.paragraph("No call was recorded.")
    if summary.others:
        _show_note(
            f"{count(summary.others, 'call')} could not be told apart, since a process saw too "
            "many kinds: they are counted by outcome and reason only.",
            terminal,
        )
    if summary.skipped:
        are = "is" if summary.skipped == 1 else "are"
        _show_note(
            f"{count(summary.skipped, 'line')} could not be read, and {are} left out; a process "
            "that is killed may leave its last line unfinished.",
            terminal,
        )


def _show_note(note: str, terminal: Terminal) -> None:
    terminal.line()
    terminal.paragraph(note, "dim", first="! ")


def _show_projects(summary: Summary, terminal: Terminal) -> None:
    kinds = [kind for kind in KINDS if summary.total(kind)]
    rows = [
        (
            Cell(name or "not known", "" if name else "dim"),
            Cell(str(calls_of(counts))),
            *(Cell(str(counts[kind]), _STYLES[kind] if counts[kind] else "dim") for kind in kinds),
        )
        for name, counts in summary.projects.items()
    ]
    terminal.line()
    terminal.table(("Project", "Calls", *(kind.capitalize() for kind in kinds)), rows)


def _show_changes(summary: Summary, terminal: Terminal) -> None:
    terminal.line()
    if not summary.changes:
        if not any(map(is_wrong, summary.records)):
            terminal.good("Every call was in order.")
        return
    places = count(summary.wrong_sites, "wrong call site")
    changes = count(len(summary.changes), "change")
    terminal.paragraph(f"{places}, {changes} to make:", "bold", first="✗ ")
    for number, change in enumerate(summary.changes, 1):
        terminal.line()
        style = _STYLES[kind_of(change.records[0])]
        terminal.paragraph(change.sentence, style, first=f"{number}. ")
        for position, records in enumerate(change.by_header):
            if position:
                terminal.line()
            _show_calls(records, change.sentence, terminal)


def _show_calls(records: list[Record], sentence: str, terminal: Terminal) -> None:
    record, indent = records[0], "   "
    if not record.client_site or record.client_site not in sentence:
        built = record.client_site or "at a place that is not known"
        terminal.paragraph(f"client built at {built}", "dim", first=indent)
    if record.reason == "scope":  # `expected` is what it is pinned to, whatever the key belongs to
        whose = f" of {record.project}" if record.project else ""
        whose += f", in a scope pinned to {' or '.join(record.expected)}"
    elif has_malformed_key(record):
        whose = ""  # it is of no project as it is
    else:
        whose = f" of {' or '.join(record.expected) or 'no project'}"
    sent = f"key {record.key_hint}{whose}, sent with {sent_with(record)}"
    terminal.paragraph(sent, "dim", first=indent)
    rows = []
    for total in records:
        outcome = "drift" if total.reason == "drift" else f"{total.outcome}, {total.reason}"
        site, first, last = total.call_site or "not known", day(total.first), day(total.last)
        rows.append(cells(str(total.count), outcome, site, first[5:], last[5:]))
    terminal.table(("Calls", "Outcome", "Called at", "First", "Last"), rows)


def _show_in_order(summary: Summary, terminal: Terminal) -> None:
    records = summary.in_order
    if not records:
        return
    terminal.line()
    terminal.paragraph("In order", "bold")
    unknown = "not known"
    rows = [
        cells(
            str(record.count),
            record.client_site or unknown,
            record.key_hint or "",
            record.project or unknown,
            day(record.last)[5:],
        )
        for record in records[:_MOST_IN_ORDER]
    ]
    terminal.table(("Calls", "Client built at", "Key", "Project", "Last"), rows)
    if len(records) > _MOST_IN_ORDER:
        terminal.paragraph(f"and {len(records) - _MOST_IN_ORDER} more, which --json lists")
