"""The values of the two hashes: reads them, says what is wrong with one, and writes them."""

from __future__ import annotations

import json
import re
from typing import Any

from openai_project_guard._keys import FINGERPRINT, digest, digest_of, find_key, hint
from openai_project_guard._registry.model import KeyBinding, KeyBindings, ProjectFields
from openai_project_guard._registry.validate import is_project_id

_ORGANIZATION = re.compile(r"org-[A-Za-z0-9_-]+")
_decode = json.JSONDecoder().decode  # json.loads() looks at its options each time
_OF_PROJECT = frozenset({"alias", "organization", "service_accounts"})
_OF_KEY = frozenset({"hint", "note", "learned", "disputed"})


class Unfit(Exception):  # noqa: N818 (it never leaves this folder)
    """An entry that is refused; its words say why and hold nothing that stands there."""


def read_project(field: bytes, value: bytes) -> tuple[str, ProjectFields]:
    """A project's id and what stands beside it.

    Raises:
        Unfit: the entry is not in order.
    """
    project = _decoded(field)
    if not is_project_id(project):
        raise Unfit("its name is not a project id")
    notes = _object(value)
    if not _OF_PROJECT.issuperset(notes):
        raise Unfit(f"it has a field beside {', '.join(sorted(_OF_PROJECT))}")
    alias, organization = _text(notes, "alias"), _text(notes, "organization")
    if alias is not None:
        if alias != alias.strip() or not alias.isprintable():
            raise Unfit("its alias is not a name of one line")
        if alias.startswith("proj_"):
            raise Unfit("its alias looks like a project id")
    if organization is not None and not _ORGANIZATION.fullmatch(organization):
        raise Unfit("its organization is not an organization id")
    accounts = notes.get("service_accounts") or ()
    if not isinstance(accounts, (list, tuple)) or not all(
        isinstance(account, str) and account and not find_key(account) for account in accounts
    ):
        raise Unfit("its service_accounts are not a list of ids")
    return project, ProjectFields(alias, organization, tuple(dict.fromkeys(accounts)))


def read_key(field: bytes, value: bytes) -> tuple[bytes, KeyBindings]:
    """A key's digest, and what stands beside it for each of its projects.

    Raises:
        Unfit: the entry is not in order.
    """
    fingerprint = field.decode("ascii", "replace")
    if not FINGERPRINT.fullmatch(fingerprint):
        raise Unfit("its name is not a fingerprint")
    key_digest = digest_of(fingerprint)
    bindings = {}
    for project, notes in _object(value).items():  # 100,000 times at the start of a process
        if not is_project_id(project):
            raise Unfit("it names something that is not a project id")
        if type(notes) is not dict or not _OF_KEY.issuperset(notes):
            raise Unfit(f"it has something else than {', '.join(sorted(_OF_KEY))}")
        key_hint = _text(notes, "hint") or ""
        if key_hint and (not key_hint.isprintable() or digest(key_hint) == key_digest):
            raise Unfit("its hint is not a hint")
        bindings[project] = KeyBinding(
            key_hint, _text(notes, "note"), _truth(notes, "learned"), _truth(notes, "disputed")
        )
    if not bindings:
        raise Unfit("it names no project")
    return key_digest, bindings


def written_project(notes: ProjectFields) -> str:
    """A project's value."""
    return _written(notes._asdict())


def written_key(bindings: KeyBindings) -> str:
    """A key's value."""
    return _written({project: _sparse(held._asdict()) for project, held in bindings.items()})


def name_of(field: bytes) -> str:
    """What may be shown of an entry's name: somebody may have put a key there."""
    name = field.decode("utf-8", "replace")
    if FINGERPRINT.fullmatch(name) or is_project_id(name):
        return name
    return repr(hint(name))


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = _decode(value.decode())
    except (ValueError, RecursionError):
        raise Unfit("its value is not JSON") from None
    if type(found) is not dict:
        raise Unfit("its value is not a JSON object")
    return found


def _decoded(field: bytes) -> str:
    return field.decode("utf-8", "replace")


def _text(notes: dict[str, Any], name: str) -> str | None:
    value = notes.get(name)
    if not value and value in (None, ""):
        return None
    if type(value) is not str:
        raise Unfit(f"its {name} is not text")
    if find_key(value):
        raise Unfit(f"its {name} holds a raw key; revoke that key if others could see it")
    return value


def _truth(notes: dict[str, Any], name: str) -> bool:
    value = notes.get(name, False)
    if type(value) is not bool:
        raise Unfit(f"its {name} is neither true nor false")
    return value


def _written(value: dict[str, Any]) -> str:
    return json.dumps(_sparse(value), ensure_ascii=False, separators=(",", ":"))


def _sparse(value: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if item or isinstance(item, dict)}
