"""What is wrong with a registry file, in sentences that show nothing of what may be a key."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from openai_project_guard._keys import redact
from openai_project_guard._registry.file.lines import (
    Path,
    of_deepest,
    of_long_number,
    repeated_at,
)

BARE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_NAME = 60
_CONFLICT = re.compile(r"^(?:<{7}|\|{7}|={7}|>{7})(?=\s|\Z)", re.MULTILINE)


class Mistake(NamedTuple):
    """What is wrong with a registry file.

    Attributes:
        line: where; `None` for the file as a whole.
        message: what, and how to fix it. It shows no key.
    """

    line: int | None
    message: str


def conflicts(text: str) -> list[Mistake]:
    """The merge conflicts in a text; those that begin no conflict count if none does."""
    marks = list(_CONFLICT.finditer(text))
    begins = [mark for mark in marks if mark.group().startswith("<")] or marks[:1]
    found, line, counted = [], 1, 0
    for mark in begins:
        line += text.count("\n", counted, mark.start())
        counted = mark.start()
        message = (
            "there is a merge conflict here. Keep the lines that are right, and take out the lines "
            "that begin with <<<<<<<, ======= and >>>>>>>."
        )
        found.append(Mistake(line, message))
    return found


def syntax_error(error: Exception, text: str) -> Mistake:
    """The decoder's message without what it quotes from the file."""
    message = str(error)
    if isinstance(error, RecursionError):
        return Mistake(of_deepest(text), "brackets are nested too deep here.")
    limit = re.match(r"Exceeds the limit \((\d+)", message)  # of Python, not of TOML
    if limit:
        return Mistake(
            of_long_number(text, int(limit[1])),
            f"there is a number of more than {limit[1]} digits.",
        )
    found = re.search(r" \(at line (\d+)", message)
    line = int(found.group(1)) if found else text.rstrip().count("\n") + 1
    if message.startswith(("Cannot", "Duplicate")):
        repeated = repeated_at(line, text)
        if repeated is None:
            return Mistake(line, "this name is already used earlier in the file.")
        name, first = repeated
        what = "this alias" if len(name) == 2 and name[0] == "projects" else "this field"
        return Mistake(
            line,
            f"{spelled_path(name)}: {what} is in the file twice. The first is at line {first}.",
        )
    reason = message[: found.start()] if found else message.partition(" (at ")[0]
    if not reason.startswith(("Expected", "Unclosed", "Unterminated", "Invalid", "Illegal")):
        reason = "It cannot be read"  # other messages may quote more than one character
    return Mistake(line, f"this is not TOML. {reason}.")


def spelled_path(field: Path, is_key: Callable[[str], bool] | None = None) -> str:
    """The field as the file would spell it, such as `projects.support-bot.keys[0].hint`.

    Args:
        field: the way to it.
        is_key: whether a name is a key of the file. Default: what looks like one is.
    """
    path = ""
    for part in field:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        shown = part
        is_shown = redact(part) == part and len(part) <= _LONGEST_NAME and part.isprintable()
        if not is_shown or (is_key is not None and is_key(part)):
            shown = '"…"'  # it may be a key; the line says where it stands
        elif not BARE_NAME.fullmatch(part):
            shown = f'"{part}"'
        path += f".{shown}" if path else shown
    return path
