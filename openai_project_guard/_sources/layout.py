"""The text of a registry file while it is edited: what is not touched stays to the letter."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_project_guard._errors import RegistryError
from openai_project_guard._key import digest_of, fingerprint_of
from openai_project_guard._sources.file import BARE_NAME
from openai_project_guard._sources.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_project_guard._registry import Place

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class KeyNotes(NamedTuple):
    """What stands beside a key's fingerprint."""

    hint: str
    note: str | None


class Layout:
    """A registry file's text. A project's table is changed through `tomlkit`, apart from the rest.

    Every method raises `RegistryError` for a layout that it cannot change safely.
    """

    def __init__(self, data: bytes, place: Place) -> None:
        self._place = place
        self._mark = data.startswith(_BYTE_ORDER_MARK)
        text = data.decode("utf-8-sig")
        # Edited with \n alone; a file that has \r\n throughout gets it back.
        self._crlf = text.count("\r\n") == text.count("\n") > 0
        self._text = text.replace("\r\n", "\n") if self._crlf else text

    def data(self, new_tables: list[str]) -> bytes:
        """The file's content, with new tables at its end."""
        text = self._text
        if new_tables:
            text = "\n".join([text.rstrip("\n") + "\n", *new_tables])
        # A lone surrogate (from a command line that is not UTF-8) is for the reader to refuse.
        data = (text.replace("\n", "\r\n") if self._crlf else text).encode(errors="surrogatepass")
        return _BYTE_ORDER_MARK + data if self._mark else data

    def add_key(self, name: str, key_digest: bytes, notes: KeyNotes) -> None:
        """Adds a key to the project's `keys`, on a line of its own."""
        key = written(key_digest, notes)
        with self._table(name) as table:
            if "keys" not in table:
                table["keys"] = _parsed(f"[\n  {key},\n]")
                return
            keys = self._keys(name, table)
            text = keys.as_string()
            if "\n" in text:
                indent = re.search(r"\n([ \t]+)\{", text)
                keys.add_line(_parsed(key), indent=indent[1] if indent else "  ")
                if not re.search(r"\n\s*\]$", text):
                    keys.add_line(indent="")
            else:  # all on one line so far
                keys_so_far = [item.as_string().strip() for item in keys]
                keys.clear()
                for item in (*keys_so_far, key):
                    keys.add_line(_parsed(item), indent="  ")
                keys.add_line(indent="")

    def renew_key(self, name: str, key_digest: bytes, notes: KeyNotes) -> None:
        """Writes a key's hint and note anew."""
        with self._table(name) as table:
            keys = self._keys(name, table)
            keys[_position(keys, key_digest)] = _parsed(written(key_digest, notes))

    def remove_key(self, name: str, key_digest: bytes) -> None:
        """Removes a key, and the comment behind it."""
        with self._table(name) as table:
            keys = self._keys(name, table)
            del keys[_position(keys, key_digest)]
            if not keys and "#" not in keys.as_string():
                keys.clear()  # or its brackets stay on two lines

    def set_organization(self, name: str, organization: str) -> None:
        """Writes a project's organization."""
        with self._table(name) as table:
            if "organization" in table:
                table["organization"] = organization
                return
        behind = Lines(self._text).of(("projects", name, "id"))
        self._put(behind + 1, behind, [f"organization = {_quoted(organization)}"])

    def remove_project(self, name: str) -> None:
        """Removes a project's table; comments in front of it and behind it stay."""
        first, last = self._block(name)
        lines = self._text.split("\n")
        before, after = lines[: first - 1], lines[last:]
        while after and not after[0].strip():  # the empty lines in front stay
            del after[0]
        if not after:
            after = [""]
            while before and not before[-1].strip():
                del before[-1]
        self._text = "\n".join(before + after)

    def refusal(self, what: str) -> RegistryError:
        """The error about a layout that cannot be changed safely."""
        return RegistryError(
            f"{self._place.name}: {what} is laid out in a way that cannot be changed safely. "
            "Change it by hand, or write it as a [projects.NAME] table with keys = [ { … }, ]. "
            "Nothing was written."
        )

    @contextmanager
    def _table(self, name: str) -> Iterator[Any]:
        """A project's table to change. The comments behind it, the next one's, are not in it."""
        import tomlkit

        first, last = self._block(name)
        lines = self._text.split("\n")[first - 1 : last]
        document: Any = tomlkit.parse("\n".join([*lines, ""]))
        yield document["projects"][name]
        self._put(first, last, document.as_string().removesuffix("\n").split("\n"))

    def _keys(self, name: str, table: Any) -> Any:
        from tomlkit.items import Array

        keys = table["keys"]
        if not isinstance(keys, Array):
            raise self.refusal(f"projects.{spelled(name)}.keys")
        return keys

    def _block(self, name: str) -> tuple[int, int]:
        """First and last line of a project's table."""
        block = Lines(self._text).block(("projects", name))
        if block is None:
            raise self.refusal(f"projects.{spelled(name)}")
        return block

    def _put(self, first: int, last: int, lines: list[str]) -> None:
        """Puts lines in the place of others."""
        text = self._text.split("\n")
        text[first - 1 : last] = lines
        self._text = "\n".join(text)


def written(key_digest: bytes, notes: KeyNotes) -> str:
    """A key as the file has it."""
    fields = [f"fingerprint = {_quoted(fingerprint_of(key_digest))}"]
    fields += [f"hint = {_quoted(notes.hint)}"] if notes.hint else []
    fields += [f"note = {_quoted(notes.note)}"] if notes.note else []
    return "{ " + ", ".join(fields) + " }"


def written_project(
    project_id: str, alias: str | None, organization: str | None, keys: dict[bytes, KeyNotes]
) -> str:
    """A project as the file has it; without an alias, its table is named for its id."""
    lines = [f"[projects.{spelled(alias or project_id)}]", f"id = {_quoted(project_id)}"]
    if organization:
        lines.append(f"organization = {_quoted(organization)}")
    if keys:
        lines += ["keys = [", *(f"  {written(*key)}," for key in keys.items()), "]"]
    else:
        lines.append("keys = []")
    return "\n".join([*lines, ""])


def spelled(name: str) -> str:
    """A table's name, in quotes where it needs them."""
    return name if BARE_NAME.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parsed(value: str) -> Any:
    import tomlkit

    return tomlkit.parse(f"value = {value}")["value"]


def _position(keys: Any, key_digest: bytes) -> int:
    found = (digest_of(key["fingerprint"]) == key_digest for key in keys)
    return list(found).index(True)
