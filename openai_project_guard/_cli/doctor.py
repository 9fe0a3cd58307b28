"""`doctor`: the whole picture, and how to mend it."""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby

from openai_project_guard import _env, _settings
from openai_project_guard._check.verdict import Policy
from openai_project_guard._cli import GOOD, NOT_IN_ORDER, PROGRAM, UNUSABLE, report
from openai_project_guard._cli.mistakes import Mistake, recognise
from openai_project_guard._cli.proof import Hooks, prove
from openai_project_guard._cli.registries import Named
from openai_project_guard._cli.saying import say
from openai_project_guard._cli.secret import without_keys
from openai_project_guard._cli.situation import Situation, look_around
from openai_project_guard._cli.terminal import Cell, Terminal
from openai_project_guard._cli.values import CUSTOM, Value, values
from openai_project_guard._types import Mode

_PACKAGES = (PROGRAM, "openai", "wrapt", "httpx", "httpx2", "websockets", "tomlkit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `doctor`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "The hooks are put to the proof by calls in this process; nothing leaves it.\n\n"
        "--json prints one object:\n"
        '  "in_order":  true | false\n'
        f"{report.JSON_HELP}"
        '  "versions":  {"python", "openai-project-guard", "openai", "wrapt", "httpx",\n'
        '               "httpx2", "websockets", "tomlkit"}, null if not installed\n'
        '  "hooks":     {"found": [names], "lost": [names], "error": text | null,\n'
        '               "proofs": [{"client", "matching", "wrong", "is_good"}]}\n'
        '  "values":    [{"header", "name", "kind": "variable" | "argument" | "unread",\n'
        '               "value", "wins": true | false}], strongest first\n'
        '  "sources":   [{"kind": "file" | "url" | "variable", "name",\n'
        '               "projects": number, "keys": number, "age_seconds": number | null,\n'
        '               "error": text | null}]\n'
        '  "settings":  [{"name", "value", "from": variable | null for the default}]\n\n'
        "Exit status: 0 all is in order, 1 something is not, 2 the configuration is\n"
        "unusable."
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--live", action="store_true", help="ask the API too, with one call")


def run(args: argparse.Namespace) -> int:
    """Looks at everything, and says what it found.

    Returns:
        0 if all is in order, 1 if something is not, 2 if the configuration is unusable.
    """
    hooks = prove()
    situation = look_around(live=args.live, hooks=hooks)
    mistakes = recognise(situation)
    is_in_order = situation.passes and not any(mistake.is_wrong for mistake in mistakes)
    if args.json:
        told = {"in_order": is_in_order, **_as_json(situation, mistakes, hooks)}
        Terminal().line(json.dumps(told, indent=2))
    else:
        _show(situation, mistakes, hooks, Terminal())
    if not situation.is_usable:
        report.tell_error(situation, mistakes, is_json=args.json)
        return UNUSABLE
    return GOOD if is_in_order else NOT_IN_ORDER


def _as_json(situation: Situation, mistakes: list[Mistake], hooks: Hooks) -> dict[str, object]:
    proofs = [{**asdict(proof), "is_good": proof.is_good} for proof in hooks.proofs]
    return {
        **report.as_json(situation, mistakes),
        "versions": _versions(),
        "hooks": {
            "found": list(hooks.found),
            "lost": list(hooks.lost),
            "error": hooks.error,
            "proofs": proofs,
        },
        "values": [asdict(value) for value in values(situation)],
        "sources": [named.as_json() for named in situation.registries],
        "settings": [
            {"name": name, "value": value, "from": variable}
            for name, value, variable in _settings_of(situation)
        ],
    }


def _show(situation: Situation, mistakes: list[Mistake], hooks: Hooks, terminal: Terminal) -> None:
    terminal.line("Versions", "bold")
    installed = (f"{name} {number}" for name, number in _versions().items() if number)
    say(terminal, ", ".join(installed))
    _show_hooks(hooks, terminal)
    _show_values(values(situation), terminal)
    _show_sources(situation.registries, terminal)
    terminal.line()
    terminal.line("Settings", "bold")
    terminal.table(
        ("Setting", "Value", "From"),
        [
            (Cell(name), Cell(value), Cell(variable) if variable else Cell("the default", "dim"))
            for name, value, variable in _settings_of(situation)
        ],
    )
    terminal.line()
    terminal.line("Verdict", "bold")
    if situation.is_usable:
        report.show_verdict(situation, terminal, is_in_order=not any(m.is_wrong for m in mistakes))
    else:
        terminal.paragraph("✗ There is nothing to judge.", "red")
    if mistakes:
        terminal.line()
        terminal.line("What to mend", "bold")
        report.show_mistakes(mistakes, terminal)


def _show_hooks(hooks: Hooks, terminal: Terminal) -> None:
    terminal.line()
    terminal.line("Hooks", "bold")
    for package, names in groupby(hooks.found, lambda name: name.partition(".")[0]):
        places = ", ".join(name.partition(".")[2] for name in names)
        say(terminal, places, first=f" {package}: ")
    for name in hooks.lost:
        say(terminal, f"{name}: another tool took it off", "red", first="✗ ")
    for proof in hooks.proofs:
        mark, style = ("✓", "green") if proof.is_good else ("✗", "red")
        fates = f"{proof.client}: matching call {proof.matching}, wrong call {proof.wrong}"
        say(terminal, fates, style, first=f"{mark} ")
    if hooks.error:
        say(terminal, hooks.error, "red", first="✗ ")


def _show_values(found: list[Value], terminal: Terminal) -> None:
    terminal.line()
    terminal.line("What a default OpenAI() takes its values from", "bold")
    shown = [
        value
        for value in found
        if value.value is not None or (value.kind == "variable" and value.name != CUSTOM)
    ]
    terminal.table(
        ("Value", "Variable", "Says", "Taken"),
        [
            (
                Cell(value.header),
                Cell(value.name),
                Cell("not set", "dim") if value.value is None else Cell(value.value),
                _taken(value),
            )
            for value in shown
        ],
    )
    say(
        terminal,
        f"Stronger than these, where they are given: extra_headers= of a call, default_headers= of "
        f"the client, {CUSTOM}; then api_key=, project=, organization= and base_url=.",
    )


def _taken(value: Value) -> Cell:
    if value.wins:
        return Cell("✓", "green")
    if value.value is None:
        return Cell("")
    return Cell("nobody reads it" if value.kind == "unread" else "no", "yellow")


def _show_sources(registries: tuple[Named, ...], terminal: Terminal) -> None:
    terminal.line()
    terminal.line("Registry", "bold")
    good = [named for named in registries if not named.error]
    if good:
        terminal.table(
            ("Source", "Projects", "Keys", "Changed"),
            [
                (
                    Cell(named.name),
                    Cell(str(len(named.projects))),
                    Cell(str(len(named.registry))),
                    Cell("" if named.age is None else f"{_duration(named.age)} ago"),
                )
                for named in good
            ],
        )
    elif not registries:
        terminal.line("✗ none", "red")
    for named in registries:
        if named.error:
            say(terminal, named.error, "red", first="✗ ")


def _duration(seconds: float) -> str:
    for length, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count = int(seconds // length)
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "less than a minute"


def _settings_of(situation: Situation) -> list[tuple[str, str, str | None]]:
    """Name, value and variable of each setting; where they are in error, what the variable says."""
    settings = situation.settings or _settings.Settings(Policy(Mode.OFF, "block", None), ())
    in_force = {
        _env.PREFIX: ("mode", str(situation.mode)),
        _env.PREFIX + "_UNREGISTERED": ("unregistered", settings.policy.unregistered),
        _env.PROJECT: ("project", settings.policy.pinned or "not pinned"),
        _env.HOSTS: ("hosts", ", ".join(sorted(settings.hosts))),
        _env.PREFIX + "_SCOPE": ("scope", settings.scope),
        _env.LEARNED: ("learned", "in memory only"),
    }
    found: list[tuple[str, str, str | None]] = []
    for variable, (name, value) in in_force.items():
        text = _env.text(variable)
        is_as_it_stands = situation.settings is None or variable == _env.LEARNED
        shown = without_keys(text) if text and is_as_it_stands else value
        found.append((name, shown, variable if text else None))
    return found


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    return {**versions, **{package: _version(package) for package in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
