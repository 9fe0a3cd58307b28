"""What `check` and `doctor` have in common to say."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from openai_project_guard._cli.mistakes import Mistake
from openai_project_guard._cli.saying import say
from openai_project_guard._cli.situation import Situation
from openai_project_guard._cli.terminal import Terminal

JSON_HELP = """\
  "mode":      "enforce" | "inject" | "warn" | "off", of the environment
  "judged_as": "enforce" | "inject"
  "verdict":   {"outcome", "reason", "expected": [ids], "actual", "key_hint",
               "method", "host", "path", "transport"}
               | null where the call is not looked at
  "refusal":   {"type", "message"} | null
  "mistakes":  [{"name", "sentence", "cure", "is_wrong": true | false}]
  "live":      {"status", "code", "message", "project", "organization",
               "agrees": true | false} | null without --live
  "error":     what is wrong with the configuration | null
"""


def as_json(situation: Situation, mistakes: Sequence[Mistake]) -> dict[str, object]:
    """The part of the JSON that both print."""
    refusal, live = situation.refusal, situation.live
    return {
        "mode": str(situation.mode),
        "judged_as": str(situation.judged_as),
        "verdict": asdict(situation.verdict) if situation.verdict else None,
        "refusal": {"type": refusal[0], "message": refusal[1]} if refusal else None,
        "mistakes": [asdict(mistake) for mistake in mistakes],
        "live": {**asdict(live), "agrees": situation.agrees} if live else None,
        "error": situation.settings_error or situation.client_error,
    }


def show_verdict(situation: Situation, terminal: Terminal, *, is_in_order: bool) -> None:
    """Says what becomes of a default client's call, and what the API said."""
    verdict = situation.verdict
    if verdict is None:
        host = situation.sent.host if situation.sent else ""
        to = f" to {host}" if host else ""
        unseen = f"Not checked: the guard does not look at calls of a default OpenAI(){to}."
        say(terminal, unseen, "red", first="✗ ")
    elif situation.refusal:
        kind, text = situation.refusal
        terminal.paragraph(f"✗ A default OpenAI() would be refused: {kind}", "red")
        terminal.line()
        for line in text.splitlines():
            say(terminal, line, first="  ")
    else:
        call = f"{verdict.method} {verdict.host}{verdict.path}, key {verdict.key_hint}"
        project = f", project {verdict.actual}" if verdict.actual else ""
        how = {
            "allowed": "passes",
            "injected": "passes, with its project put in",
            "warned": "would be sent with a warning",
        }[verdict.outcome]
        if verdict.reason:
            how += f" ({verdict.reason})"
        is_good = verdict.outcome != "warned" and is_in_order
        mark, style = ("✓", "green") if is_good else ("!", "yellow")
        say(terminal, f"A default OpenAI() {how}: {call}{project}.", style, first=f"{mark} ")
    live = situation.live
    if live is not None and live.is_good:
        mark, style = ("✓", "green") if situation.agrees else ("✗", "red")
        project = live.project or "no project by name"
        say(terminal, f"The API took the call, for {project}.", style, first=f"{mark} ")
    elif live is not None:
        say(terminal, f"{live.said}.", "red", first="✗ ")


def show_mistakes(mistakes: Sequence[Mistake], terminal: Terminal) -> None:
    """Names the mistakes and what mends them."""
    for mistake in mistakes:
        mark, style = ("✗", "red") if mistake.is_wrong else ("!", "yellow")
        terminal.line()
        say(terminal, mistake.sentence, style, first=f"{mark} ")
        say(terminal, mistake.cure, first="  ")


def tell_error(situation: Situation, mistakes: Sequence[Mistake], *, is_json: bool) -> None:
    """Writes to standard error why nothing can be judged, unless the text has just said so."""
    error = situation.settings_error or situation.client_error or ""
    if is_json or not any(error in mistake.sentence for mistake in mistakes):
        say(Terminal(sys.stderr), error, "red", first="✗ ")
