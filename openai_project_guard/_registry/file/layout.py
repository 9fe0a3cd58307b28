"""The text of a registry file while it is edited: what is not touched stays to the letter."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.file.lines import Lines
from openai_project_guard._registry.file.mistakes import BARE_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai_project_guard._registry.model import KeyBinding, Place, ProjectFields

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TableEdit(NamedTuple):
    """What is to be changed in a project's table.

    Attributes:
        fields: new values by name; an empty one removes the field.
        keys: new ones by fingerprint; `None` removes the key.
    """

    fields: dict[str, Any]
    keys: dict[str, KeyBinding | None]


class Layout:
    """A registry file's text. Each table is changed through `tomlkit`, apart from the rest."""

    def __init__(self, data: bytes, place: Place) -> None:
        self._place = place
        self._mark = data.startswith(_BYTE_ORDER_MARK)
        text = data.decode("utf-8-sig")
        # Edited with \n alone; a file that has \r\n throughout gets it back.
        self._crlf = text.count("\r\n") == text.count("\n") > 0
        self._text = text.replace("\r\n", "\n") if self._crlf else text

    def data(self, new_tables: list[str]) -> bytes:
        """The file's content, with new tables in front of the others.

        Not behind them: `git merge` takes changes of close lines for one, so that with
        merge=union a key that two branches add to the last project would end up in a new one.
        """
        text = self._text
        if new_tables:
            lines = text.split("\n")
            first = _first_table(lines)
            if first is None:
                text = "\n".join([text.rstrip("\n") + "\n", *new_tables])
            else:
                before = [""] if first and lines[first - 1].strip() else []
                text = "\n".join([*lines[:first], *before, *new_tables, *lines[first:]])
        # A lone surrogate (from a command line that is not UTF-8) is for the reader to refuse.
        data = (text.replace("\n", "\r\n") if self._crlf else text).encode(errors="surrogatepass")
        return _BYTE_ORDER_MARK + data if self._mark else data

    def change(self, tables: Mapping[str, TableEdit | None]) -> None:
        """Changes projects' tables, by name; `None` removes one. The text is walked once.

        Comments in front of a removed table and behind it stay.

        Raises:
            RegistryError: one is laid out in a way that cannot be changed safely.
        """
        if not tables:
            return
        unsafe = ""
        blocks = Lines(self._text).blocks(("projects",))
        if missing := [name for name in tables if name not in blocks]:
            unsafe = f"projects.{spelled(missing[0])}"
        else:
            try:
                self._change(sorted((*blocks[name], name) for name in tables), tables)
            except _Unsafe as error:
                unsafe = str(error)
        if unsafe:
            raise self.refusal(unsafe)

    def _change(
        self, blocks: list[tuple[int, int, str]], tables: Mapping[str, TableEdit | None]
    ) -> None:
        lines = self._text.split("\n")
        for first, last, name in reversed(blocks):  # so that the lines in front keep their numbers
            edit = tables[name]
            if edit is not None:
                lines[first - 1 : last] = _changed(lines[first - 1 : last], name, edit)
                continue
            while last < len(lines) and not lines[last].strip():  # the empty lines in front stay
                last += 1
            del lines[first - 1 : last]
            if len(lines) == first - 1:
                while lines and not lines[-1].strip():
                    del lines[-1]
                lines.append("")
        self._text = "\n".join(lines)

    def refusal(self, what: str) -> RegistryError:
        """The error about a layout that cannot be changed safely."""
        return RegistryError(
            f"{self._place.name}: {what} is laid out in a way that cannot be changed safely. "
            "Change it by hand, or write it as a [projects.NAME] table with keys = [ { … }, ]. "
            "Nothing was written."
        )


def _first_table(lines: list[str]) -> int | None:
    """Where the first [table] begins, with the comment right above it."""
    for first, line in enumerate(lines):
        if line.lstrip().startswith("["):
            above = first
            while above and lines[above - 1].lstrip().startswith("#"):
                above -= 1
            return above
    return None


class _Unsafe(Exception):  # noqa: N818 (it never leaves this module)
    """What is laid out in a way that cannot be changed safely."""


def _changed(lines: list[str], name: str, edit: TableEdit) -> list[str]:
    """A table's lines after a change."""
    import tomlkit
    from tomlkit.items import Array

    document: Any = tomlkit.parse("\n".join([*lines, ""]))
    table = document["projects"][name]
    behind = []  # the id: new fields, which tomlkit would put at the end
    for field, value in edit.fields.items():
        if field not in table:
            behind += [f"{field} = {_quoted(value)}"] if value else []
        elif value:
            table[field] = value
        else:
            del table[field]
    if edit.keys and "keys" not in table:
        table["keys"] = _parsed("[]")
    if edit.keys and not isinstance(table["keys"], Array):
        raise _Unsafe(f"projects.{spelled(name)}.keys")
    if edit.keys:
        _change_keys(table["keys"], edit.keys)
    text = document.as_string().removesuffix("\n")
    changed: list[str] = text.split("\n")
    if behind:
        line = Lines(text).of(("projects", name, "id"))
        changed[line:line] = behind
    return changed


def _change_keys(keys: Any, changes: Mapping[str, KeyBinding | None]) -> None:
    """Renews keys where they stand, removes them with the comment behind them, or adds them."""
    positions = {key["fingerprint"].lower(): position for position, key in enumerate(keys)}
    gone = [positions[fingerprint] for fingerprint, binding in changes.items() if binding is None]
    new = []
    for fingerprint, binding in changes.items():
        if binding is None:
            continue
        if fingerprint in positions:
            keys[positions[fingerprint]] = _parsed(written(fingerprint, binding))
        else:
            new.append(written(fingerprint, binding))
    for position in sorted(gone, reverse=True):
        del keys[position]
    if gone and not keys and "#" not in keys.as_string():
        keys.clear()  # or its brackets stay on two lines
    if new:
        _add_keys(keys, new)


def _add_keys(keys: Any, new: list[str]) -> None:
    """Adds keys, each on a line of its own."""
    text = keys.as_string()
    indent = re.search(r"\n([ \t]+)\{", text)
    if "\n" not in text:  # all on one line so far
        new = [*(item.as_string().strip() for item in keys), *new]
        keys.clear()
    for key in new:
        keys.add_line(_parsed(key), indent=indent[1] if indent else "  ")
    if not re.search(r"\n\s*\]$", text):
        keys.add_line(indent="")


def written(fingerprint: str, binding: KeyBinding) -> str:
    """A key as the file has it."""
    fields = [f"fingerprint = {_quoted(fingerprint)}"]
    fields += [f"hint = {_quoted(binding.hint)}"] if binding.hint else []
    fields += [f"note = {_quoted(binding.note)}"] if binding.note else []
    return "{ " + ", ".join(fields) + " }"


def written_project(project: str, fields: ProjectFields, keys: Mapping[str, KeyBinding]) -> str:
    """A project as the file has it; without an alias, its table is named for its id.

    Its last line is no other project's, or `git merge` with merge=union would take it for the end
    of two new ones.
    """
    lines = [f"[projects.{spelled(fields.alias or project)}]", f"id = {_quoted(project)}"]
    lines += [f"{name} = {_quoted(value)}" for name, value in other_fields(fields).items() if value]
    lines += ["keys = [", *(f"  {written(*key)}," for key in keys.items()), f"]  # {project}"]
    return "\n".join([*lines, ""])


def other_fields(fields: ProjectFields) -> dict[str, Any]:
    """What stands in a project's table beside its id and its keys."""
    return {"organization": fields.organization, "service_accounts": list(fields.service_accounts)}


def spelled(name: str) -> str:
    """A table's name, in quotes where it needs them."""
    return name if BARE_NAME.fullmatch(name) else _quoted(name)


def _quoted(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parsed(value: str) -> Any:
    import tomlkit

    return tomlkit.parse(f"value = {value}")["value"]
