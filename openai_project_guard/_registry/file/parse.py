"""The registry file, `openai-projects.toml`: reads it, and says what is wrong with it and where.

Two things shape this module. A file that is not in order may hold a raw key, so no error may be
raised from a frame that holds what was read: the inner functions return their finding, `parse()`
raises it. And lines cost time that only an error should pay, so they are looked up afterwards.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import (
    FINGERPRINT,
    RAW_KEY,
    digest,
    digest_of,
    hint,
    without_user_info,
)
from openai_project_guard._registry.file.lines import Lines, Path
from openai_project_guard._registry.model import PROJECT_ID, Place, Project, Row, Snapshot

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BARE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_ORGANIZATION = re.compile(r"org-[A-Za-z0-9_-]+")
_KEY_IN_NAME = re.compile(r"\b(?:sk|ek)[-_]")
_QUOTED_FINGERPRINT = re.compile(rf"[\"']({FINGERPRINT.pattern})[\"']")
_FIELDS = ("version", "projects")
_PROJECT_FIELDS = ("id", "organization", "service_accounts", "keys")
_KEY_FIELDS = ("fingerprint", "hint", "note")
_PROJECT_NAMES, _KEY_NAMES = frozenset(_PROJECT_FIELDS), frozenset(_KEY_FIELDS)
_TYPES = {
    str: "a string",
    bool: "a boolean",
    int: "a whole number",
    float: "a decimal number",
    list: "an array",
    dict: "a table",
}
_LONGEST_NAME = 60
_HOW_TO_FINGERPRINT = (
    "A fingerprint is sha256: and the 64 hex digits of the key's SHA-256 "
    '(printf %s "$KEY" | sha256sum); `openai-project-guard register` writes it for you.'
)


class FilePlace(Place):
    """A registry file, shared by all its projects; it looks a line up only when asked for one."""

    __slots__ = ("_known", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        super().__init__(RAW_KEY.sub(lambda key: hint(key.group()), without_user_info(name)))
        self.path = os.path.abspath(name)  # the process may change its directory
        self._known: tuple[object, dict[bytes, list[int]]] = (None, {})

    def of(self, needle: str, project: str = "") -> str:
        """File and line of one entry; the file alone when the entry no longer stands there."""
        try:
            line: int | None
            if FINGERPRINT.fullmatch(needle):
                lines = self._fingerprint_lines().get(digest_of(needle), [0])
                line = lines[0] if len(lines) == 1 else self._nearest(lines, project)
            else:
                entry = rf"(?m)^(?![ \t]*#).*[\"']{re.escape(needle)}[\"']"
                text = self._text()
                found = re.search(entry, text)
                line = text.count("\n", 0, found.end()) + 1 if found else None
        except (OSError, ValueError):
            return self.name
        return self.at(line) if line else self.name

    def _nearest(self, lines: list[int], project: str) -> int:
        """Of several lines the first behind the project's id."""
        found = re.search(rf"(?m)^(?![ \t]*#).*[\"']{re.escape(project)}[\"']", self._text())
        start = self._text().count("\n", 0, found.start()) + 1 if found else 0
        return next((line for line in lines if line >= start), lines[0])

    def _fingerprint_lines(self) -> dict[bytes, list[int]]:
        """Kept while the file is the same: listing a registry asks for every line."""
        status = os.stat(self.path)
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        known, lines = self._known
        if known != version:
            lines = {}
            for number, line in enumerate(self._text().split("\n"), start=1):
                if not line.lstrip().startswith("#"):
                    for fingerprint in _QUOTED_FINGERPRINT.findall(line):
                        lines.setdefault(digest_of(fingerprint), []).append(number)
            self._known = (version, lines)
        return lines

    def _text(self) -> str:
        with open(self.path, encoding="utf-8-sig", errors="replace", newline="\n") as file:
            return file.read()

    def at(self, line: int) -> str:
        """File and line."""
        return f"{self.name}, line {line}"


class _Mistake(Exception):  # noqa: N818 (it never leaves this module)
    """What is wrong with a field of the file. Its words go into the error."""

    def __init__(self, field: Path, words: str, first: Path | None = None) -> None:
        super().__init__(words)
        self.field = field
        self.words = words
        self.first = first  # where a thing that may stand once stands already


def read(path: str | os.PathLike[str]) -> Snapshot:
    """What a registry file holds.

    Raises:
        RegistryError: the file cannot be read or is not valid.
    """
    place = FilePlace(path)
    return parse(load(place), place)


def load(place: FilePlace) -> bytes:
    """The content of the file.

    Raises:
        RegistryError: the file cannot be read.
    """
    try:
        with open(place.path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        problem = "there is no such file. `openai-project-guard register` makes one"
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        if os.path.isdir(place.path):
            problem = "this is a directory. Name the registry file in it"
        elif isinstance(error, PermissionError):
            problem = "this process may not read the file. Mend its owner or its mode"
        else:
            problem = f"the file cannot be read ({getattr(error, 'strerror', None) or error})"
    raise RegistryError(f"{place.name}: {problem}.")


def parse(data: bytes, place: FilePlace) -> Snapshot:
    """What the content of a registry file says.

    Raises:
        RegistryError: it is not valid; the message names file, line and field.
    """
    found = _judge(data, place)
    if isinstance(found, Snapshot):
        return found
    data = b""  # a raw key may stand in it
    raise RegistryError(found)


def _judge(data: bytes, place: FilePlace) -> Snapshot | str:
    """The snapshot, or the words of the error."""
    if not data.strip():
        return f"{place.at(1)}: version: it is missing; the file is empty."
    try:
        text = data.decode("utf-8-sig")  # an editor on Windows may have left its mark in front
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return f"{place.at(line)}: this is not UTF-8. Save the file as UTF-8 text."
    try:
        return _snapshot(tomllib.loads(text), place)
    except _Mistake as mistake:
        lines = Lines(text)
        words = f"{place.at(lines.of(mistake.field))}: {_spelled(mistake.field)}: {mistake.words}"
        if mistake.first:
            words += f" The first is {_spelled(mistake.first)}, line {lines.of(mistake.first)}."
        return words
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        return _syntax_error(str(error), text, place)


def _snapshot(found: dict[str, Any], place: FilePlace) -> Snapshot:
    if "version" not in found:
        raise _Mistake(("version",), "it is missing; the file begins with version = 1.")
    for name in found:
        _refuse_unknown((), name, _FIELDS)
    version = _typed(found["version"], int, ("version",))
    if version != 1:
        raise _Mistake(
            ("version",), f"this release reads version 1 of the format, not version {version}."
        )
    snapshot = Snapshot()
    for name, table in _typed(found.get("projects", {}), dict, ("projects",)).items():
        _add_project(snapshot, name, table, place)
    return snapshot


def _add_project(snapshot: Snapshot, name: str, table: Any, place: FilePlace) -> None:
    path = ("projects", name)
    if RAW_KEY.search(name):
        raise _Mistake(path, f"the alias holds a raw key. {_no_key_here()}")
    if not name or name != name.strip() or not name.isprintable():
        raise _Mistake(path, "an alias is a name of one line, not empty, with no space around it.")
    if not _PROJECT_NAMES.issuperset(_typed(table, dict, path)):
        for field in table:
            _refuse_unknown(path, field, _PROJECT_FIELDS)
    if "id" not in table:
        raise _Mistake((*path, "id"), 'it is missing; give the project\'s id: id = "proj_…".')
    project_id = _text(table["id"], (*path, "id"))
    if not PROJECT_ID.fullmatch(project_id):
        raise _Mistake(
            (*path, "id"),
            "this is not a project id, which is proj_ and letters, digits, _ or -, "
            "as the project's settings page shows it.",
        )
    if name.startswith("proj_") and name != project_id:
        raise _Mistake(
            path,
            "an alias must not look like a project id. Give it another name, "
            "or the table's own id for a project without an alias.",
        )
    if known := snapshot.projects.get(project_id):
        raise _Mistake(
            (*path, "id"),
            f"the project {project_id} stands in the file twice; move its keys into one table.",
            ("projects", known.alias or known.id, "id"),
        )
    organization = table.get("organization")
    if organization is not None and not _ORGANIZATION.fullmatch(
        _text(organization, (*path, "organization"))
    ):
        raise _Mistake(
            (*path, "organization"),
            "this is not an organization id, which is org- and letters, digits, _ or -.",
        )
    # A project without an alias has its own id for the table's name.
    alias = None if name == project_id else name
    project = Project(project_id, place, alias, organization)
    accounts = _typed(table.get("service_accounts", []), list, (*path, "service_accounts"))
    for position, account in enumerate(accounts):
        _refuse_unfit_account(snapshot, account, accounts[:position], path)
    snapshot.add_project(project, accounts)
    _add_keys(snapshot, project, table.get("keys", []), (*path, "keys"))


def _refuse_unfit_account(
    snapshot: Snapshot, account: Any, before: list[str], project: Path
) -> None:
    path = (*project, "service_accounts", len(before))
    if not _text(account, path):
        raise _Mistake(path, "a service account's id is not empty.")
    if account in before:
        first = (*project, "service_accounts", before.index(account))
        raise _Mistake(path, "this service account stands in the project twice.", first)
    if rows := snapshot.accounts.get(account):
        other = rows[0].project
        raise _Mistake(
            path,
            "this service account stands under two projects, and a call could be either's. "
            "Leave it where it belongs.",
            ("projects", other.alias or other.id, "service_accounts"),
        )


def _add_keys(snapshot: Snapshot, project: Project, keys: Any, path: Path) -> None:
    before: dict[bytes, int] = {}
    for position, key in enumerate(_typed(keys, list, path)):
        # 20,000 times in a large file: what is rarely wrong is looked at closely only then.
        if type(key) is not dict or not _KEY_NAMES.issuperset(key) or "fingerprint" not in key:
            _refuse_key(key, (*path, position))
        fingerprint = key["fingerprint"]
        if type(fingerprint) is not str or not FINGERPRINT.fullmatch(fingerprint):
            field = (*path, position, "fingerprint")
            raise _Mistake(field, _not_a_fingerprint(_typed(fingerprint, str, field)))
        key_digest = digest_of(fingerprint)
        if key_digest in before:
            raise _Mistake(
                (*path, position, "fingerprint"),
                "this fingerprint stands in the project twice.",
                (*path, before[key_digest], "fingerprint"),
            )
        before[key_digest] = position
        key_hint, note = key.get("hint", ""), key.get("note")
        if not _text(key_hint, (*path, position, "hint")).isprintable():
            raise _Mistake((*path, position, "hint"), "a hint is text of one line.")
        if digest(key_hint) == key_digest:
            raise _Mistake((*path, position, "hint"), f"this is the raw key. {_no_key_here()}")
        if note is not None:
            _text(note, (*path, position, "note"))
        snapshot.add_key(key_digest, Row(project, key_hint, note))


def _refuse_key(key: Any, path: Path) -> None:
    if isinstance(key, str):
        raise _Mistake(path, 'a key is written { fingerprint = "sha256:…" }, not as a string.')
    for name in _typed(key, dict, path):
        _refuse_unknown(path, name, _KEY_FIELDS)
    raise _Mistake((*path, "fingerprint"), f"it is missing. {_HOW_TO_FINGERPRINT}")


def _not_a_fingerprint(value: str) -> str:
    if value.startswith(("sk-", "sk_", "ek-", "ek_", "sess-")):
        return f"this is a raw key ({hint(value)}), not a fingerprint. {_no_key_here()}"
    if FINGERPRINT.fullmatch(f"sha256:{value}"):
        return "this fingerprint lacks its beginning: put sha256: before the 64 hex digits."
    return f"this is not a fingerprint. {_HOW_TO_FINGERPRINT}"


def _no_key_here() -> str:
    return (
        "This file must hold no key: take it out, and revoke the key if others could see the "
        f"file. {_HOW_TO_FINGERPRINT}"
    )


def _refuse_unknown(path: Path, name: str, known: tuple[str, ...]) -> None:
    if RAW_KEY.search(name):
        raise _Mistake((*path, name), f"a raw key stands here. {_no_key_here()}")
    if name not in known:
        raise _Mistake((*path, name), f"there is no such field here; there are {', '.join(known)}.")


def _typed(value: Any, wanted: type, path: Path) -> Any:
    if type(value) is not wanted:  # a boolean is no number here
        what = _TYPES.get(type(value), "a date or time")
        raise _Mistake(path, f"this is {what}; it must be {_TYPES[wanted]}.")
    return value


def _text(value: Any, path: Path) -> str:
    if type(value) is not str:
        _typed(value, str, path)
    elif RAW_KEY.search(value):
        raise _Mistake(path, f"a raw key stands here. {_no_key_here()}")
    return value  # type: ignore[no-any-return]


def _syntax_error(message: str, text: str, place: FilePlace) -> str:
    """The decoder's finding without what it quotes from the file."""
    found = re.search(r" \(at line (\d+)", message)
    line = int(found.group(1)) if found else text.rstrip().count("\n") + 1
    if message.startswith(("Cannot", "Duplicate")):
        lines = Lines(text)
        name = lines.repeated_at(line)
        if name is None:
            return f"{place.at(line)}: a name stands here that stands in the file before."
        what = "this alias" if len(name) == 2 and name[0] == "projects" else "this field"
        return (
            f"{place.at(line)}: {_spelled(name)}: {what} stands in the file twice. "
            f"The first is at line {lines.of(name)}."
        )
    reason = message[: found.start()] if found else message.partition(" (at ")[0]
    if not reason.startswith(("Expected", "Unclosed", "Unterminated", "Invalid", "Illegal")):
        reason = "It cannot be read"  # other messages may quote more than one character
    return f"{place.at(line)}: this is not TOML. {reason}."


def _spelled(field: Path) -> str:
    """The field as the file would spell it, such as `projects.support-bot.keys[0].hint`."""
    words = ""
    for part in field:
        if isinstance(part, int):
            words += f"[{part}]"
            continue
        shown = part
        if _KEY_IN_NAME.search(part) or len(part) > _LONGEST_NAME or not part.isprintable():
            shown = '"…"'  # it may be a key; the line says where it stands
        elif not BARE_NAME.fullmatch(part):
            shown = f'"{part}"'
        words += f".{shown}" if words else shown
    return words
