"""The text of a registry file while it is edited: what is not touched stays to the letter."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.file.lines import Lines, blocks
from openai_project_guard._registry.file.mistakes import BARE_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai_project_guard._registry.file.place import FilePlace
    from openai_project_guard._registry.model import (
        ByProject,
        KeyBinding,
        ProjectAndKeys,
        ProjectFields,
    )

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Layout:
    """A registry file's text. Each table is changed through `tomlkit`, apart from the rest.

    On the whole document `tomlkit` would take many seconds for 20,000 keys.
    """

    def __init__(self, data: bytes, place: FilePlace) -> None:
        self.place = place
        self._mark = data.startswith(_BYTE_ORDER_MARK)
        text = data.decode("utf-8-sig")
        # Edited with \n alone; a file that has \r\n throughout gets it back.
        self._crlf = text.count("\r\n") == text.count("\n") > 0
        self._text = text.replace("\r\n", "\n") if self._crlf else text

    def data(self) -> bytes:
        """The file's content."""
        text = self._text.replace("\n", "\r\n") if self._crlf else self._text
        # A lone surrogate (from a command line that is not UTF-8) is for the reader to refuse.
        data = text.encode(errors="surrogatepass")
        return _BYTE_ORDER_MARK + data if self._mark else data

    def change(self, old: ByProject, new: ByProject) -> None:
        """Makes the text say something else. It is walked once.

        Comments in front of a removed table and behind it stay.

        Raises:
            RegistryError: it is laid out in a way that cannot be changed safely.
        """
        changed = {  # by the table's name
            fields.alias or project: (project, _is_to_stay(fields, new.get(project)))
            for project, (fields, keys) in old.items()
            if new.get(project) != (fields, keys)
        }
        coming = [
            written_project(project, *found)
            for project, found in new.items()
            if project not in old or not _is_to_stay(old[project][0], found)
        ]
        unsafe = ""
        lines = self._text.split("\n")
        tables = blocks(("projects",), self._text) if changed else {}
        if missing := [name for name in changed if name not in tables]:
            unsafe = f"projects.{_spelled(missing[0])}"
        else:
            # From behind, so that the lines in front keep their numbers.
            for first, last, name in sorted(((*tables[n], n) for n in changed), reverse=True):
                project, is_to_stay = changed[name]
                if not is_to_stay:
                    _remove(lines, first - 1, last)
                    continue
                block = lines[first - 1 : last]
                try:
                    lines[first - 1 : last] = _changed(block, name, old[project], new[project])
                except _Unsafe as error:
                    unsafe = str(error)
        if unsafe:
            lines = block = []  # a comment may hold anything
            raise self.refusal(unsafe)
        self._text = "\n".join(_with_tables(lines, coming) if coming else lines)

    def refusal(self, what: str) -> RegistryError:
        """The error about a layout that cannot be changed safely."""
        return RegistryError(
            f"{self.place.name}: {what} is laid out in a way that cannot be changed safely. "
            "Change it by hand, or write it as a [projects.NAME] table with keys = [ { … }, ]. "
            "Nothing was written."
        )


class _Unsafe(Exception):  # noqa: N818 (it never leaves this module)
    """What is laid out in a way that cannot be changed safely."""


def _is_to_stay(fields: ProjectFields, new: ProjectAndKeys | None) -> bool:
    """Whether a project keeps its table, which is named for its alias."""
    return new is not None and new[0].alias == fields.alias


def _remove(lines: list[str], first: int, last: int) -> None:
    """Takes a table out; the empty lines in front stay."""
    while last < len(lines) and not lines[last].strip():
        last += 1
    del lines[first:last]
    if len(lines) == first:
        while lines and not lines[-1].strip():
            del lines[-1]
        lines.append("")


def _with_tables(lines: list[str], tables: list[str]) -> list[str]:
    """The lines with new tables in front of the others.

    Not behind them: `git merge` takes changes of close lines for one, so that with merge=union a
    key that two branches add to the last project would end up in a new one.
    """
    first = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), None)
    if first is None:
        return ["\n".join(lines).rstrip("\n") + "\n", *tables]
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1  # the comment right above it
    before = [""] if first and lines[first - 1].strip() else []
    return [*lines[:first], *before, *tables, *lines[first:]]


def _changed(lines: list[str], name: str, old: ProjectAndKeys, new: ProjectAndKeys) -> list[str]:
    """A table's lines after a change."""
    import tomlkit
    from tomlkit.items import Array

    document: Any = tomlkit.parse("\n".join([*lines, ""]))
    table = document["projects"][name]
    behind = []  # the id: new fields, which tomlkit would put at the end
    before, after = _other_fields(old[0]), _other_fields(new[0])
    for field, value in after.items():
        if value == before[field]:
            continue
        if field not in table:
            behind.append(f"{field} = {_quoted(value)}")
        elif value:
            table[field] = value
        else:
            del table[field]
    if new[1] != old[1]:
        if "keys" not in table:
            table["keys"] = _parsed("[]")
        if not isinstance(table["keys"], Array):
            raise _Unsafe(f"projects.{_spelled(name)}.keys")
        _change_keys(table["keys"], old[1], new[1])
    text = document.as_string().removesuffix("\n")
    changed: list[str] = text.split("\n")
    if behind:
        line = Lines(text).of(("projects", name, "id"))
        changed[line:line] = behind
    return changed


def _change_keys(keys: Any, old: Mapping[str, KeyBinding], new: Mapping[str, KeyBinding]) -> None:
    """Renews keys where they stand, removes them with the comment behind them, or adds them."""
    for position, key in reversed([*enumerate(keys)]):
        fingerprint = key["fingerprint"].lower()
        if fingerprint not in new:
            del keys[position]
        elif new[fingerprint] != old[fingerprint]:
            keys[position] = _parsed(_written(fingerprint, new[fingerprint]))
    if not keys and "#" not in keys.as_string():
        keys.clear()  # or its brackets stay on two lines
    coming = [_written(*key) for key in new.items() if key[0] not in old]
    if not coming:
        return
    text = keys.as_string()
    indent = re.search(r"\n([ \t]+)\{", text)
    if "\n" not in text:  # all on one line so far
        coming = [*(item.as_string().strip() for item in keys), *coming]
        keys.clear()
    for written in coming:
        keys.add_line(_parsed(written), indent=indent[1] if indent else "  ")
    if not re.search(r"\n\s*\]$", text):
        keys.add_line(indent="")


def written_project(project: str, fields: ProjectFields, keys: Mapping[str, KeyBinding]) -> str:
    """A project as the file has it; without an alias, its table is named for its id.

    Its last line is no other project's, or `git merge` with merge=union would take it for the end
    of two new ones.
    """
    lines = [f"[projects.{_spelled(fields.alias or project)}]", f"id = {_quoted(project)}"]
    lines += [
        f"{name} = {_quoted(value)}" for name, value in _other_fields(fields).items() if value
    ]
    lines += ["keys = [", *(f"  {_written(*key)}," for key in keys.items()), f"]  # {project}"]
    return "\n".join([*lines, ""])


def _written(fingerprint: str, binding: KeyBinding) -> str:
    fields = {"fingerprint": fingerprint, "hint": binding.hint, "note": binding.note}
    written = [f"{name} = {_quoted(value)}" for name, value in fields.items() if value]
    return "{ " + ", ".join(written) + " }"


def _other_fields(fields: ProjectFields) -> dict[str, Any]:
    """What stands in a project's table beside its id and its keys."""
    return {"organization": fields.organization, "service_accounts": list(fields.service_accounts)}


def _spelled(name: str) -> str:
    return name if BARE_NAME.fullmatch(name) else _quoted(name)


def _quoted(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parsed(value: str) -> Any:
    import tomlkit

    return tomlkit.parse(f"value = {value}")["value"]
