"""A paragraph whose further lines stand under the beginning of its first."""

from __future__ import annotations

from textwrap import wrap

from openai_project_guard._cli.terminal import Terminal

_NARROWEST = 20  # characters; a terminal too narrow for that gets longer lines


def say(terminal: Terminal, text: str, style: str = "", *, first: str = " ") -> None:
    """Writes a text, broken into lines that fit.

    Args:
        terminal: where to.
        text: of one paragraph.
        style: of all its lines.
        first: what stands before it, such as a mark; the other lines get as many spaces.
    """
    width = max(terminal.width - 1, _NARROWEST)
    rest = " " * len(first)
    for line in wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    ):
        terminal.line(line, style)
