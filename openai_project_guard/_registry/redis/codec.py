"""The values of the two hashes: reads them, says what is wrong with one, and writes them."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from openai_project_guard._keys import FINGERPRINT, digest_of, hint
from openai_project_guard._registry import validate
from openai_project_guard._registry.model import KeyBinding, KeyBindings, ProjectFields

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

T = TypeVar("T")
_LONGEST = 64 * 1024  # bytes of a value; what is longer is not looked at
_decode = json.JSONDecoder().decode  # json.loads() looks at its options each time
_OF_PROJECT = frozenset({"alias", "organization", "service_accounts"})
_OF_KEY = frozenset({"hint", "note"})


class InvalidEntry(Exception):  # noqa: N818 (it never leaves this folder)
    """An entry that is refused; the message says why and holds no key."""


def read_project(field: bytes, value: bytes) -> tuple[str, ProjectFields]:
    """A project's id and its fields. Raises `InvalidEntry`."""
    project = field.decode("utf-8", "replace")
    if not validate.is_project_id(project):
        raise InvalidEntry("its name is not a project id")
    found = _object(value, _OF_PROJECT)
    accounts = found.get("service_accounts") or []
    if type(accounts) is not list:
        raise InvalidEntry("its service_accounts is not an array")
    read = partial(_read, "service_accounts", validate.service_account)
    return project, ProjectFields(
        _optional("alias", validate.alias, found.get("alias")),
        _optional("organization", validate.organization, found.get("organization")),
        tuple(dict.fromkeys(map(read, accounts))),
    )


def read_key(field: bytes, value: bytes, known: Collection[str] = ()) -> tuple[bytes, KeyBindings]:
    """A key's digest, and its bindings. Raises `InvalidEntry`, also if it belongs to no project.

    The ids of projects that are known need not be validated again.
    """
    fingerprint = field.decode("ascii", "replace")
    if not FINGERPRINT.fullmatch(fingerprint):
        raise InvalidEntry("its name is not a fingerprint")
    key_digest = digest_of(fingerprint)
    bindings: KeyBindings = {}
    for project, found in _object(value).items():  # 100,000 times at the start of a process
        if not (project in known and project.startswith("proj_")):
            _read("project", validate.project_id, project)
        if type(found) is not dict or not _OF_KEY.issuperset(found):
            raise InvalidEntry(f"it has something else than {', '.join(sorted(_OF_KEY))}")
        key_hint = found.get("hint")
        if key_hint:
            _read("hint", partial(validate.hint, key_digest=key_digest), key_hint)
        note = _optional("note", partial(validate.note, key_digest=key_digest), found.get("note"))
        bindings[project] = KeyBinding(key_hint or "", note)
    if not bindings:
        raise InvalidEntry("it names no project")
    return key_digest, bindings


def project_value(fields: ProjectFields) -> str:
    """A project's value."""
    return _written(_present(fields._asdict()))


def key_value(bindings: KeyBindings) -> str:
    """A key's value."""
    return _written({project: _present(key._asdict()) for project, key in bindings.items()})


def entry_name(field: bytes) -> str:
    """What may be shown of an entry's name: somebody may have put a key there."""
    name = field.decode("utf-8", "replace")
    return name if FINGERPRINT.fullmatch(name) or validate.is_project_id(name) else repr(hint(name))


def _object(value: bytes, fields: frozenset[str] | None = None) -> dict[str, Any]:
    if len(value) > _LONGEST:
        raise InvalidEntry(f"its value is longer than {_LONGEST} bytes")
    try:
        found = _decode(value.decode())
    except (ValueError, RecursionError):
        raise InvalidEntry("its value is not JSON") from None
    if type(found) is not dict:
        raise InvalidEntry("its value is not a JSON object")
    if fields is not None and not fields.issuperset(found):
        raise InvalidEntry(f"it has a field beside {', '.join(sorted(fields))}")
    return found


def _optional(name: str, rule: Callable[[object], T], value: object) -> T | None:
    return None if value is None or value == "" else _read(name, rule, value)


def _read(name: str, rule: Callable[[object], T], value: object) -> T:
    try:
        return rule(value)
    except validate.FieldError as error:
        raise InvalidEntry(f"its {name}: {str(error).rstrip('.')}") from None


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _written(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
