"""What a registry's fields may hold: one rule a field, whoever reads or writes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import FINGERPRINT, digest, digest_of, find_key, is_secret, shown
from openai_project_guard._keys import hint as hint_of

HOW_TO_FINGERPRINT = (
    "A fingerprint is sha256: and the 64 hex digits of the key's SHA-256 "
    '(printf %s "$KEY" | sha256sum); `openai-project-guard fingerprint` prints it.'
)
NO_KEY_HERE = (
    "A registry must hold no key: take it out, and revoke the key if others could see it. "
    + HOW_TO_FINGERPRINT
)
_PROJECT_ID = re.compile(r"proj_[A-Za-z0-9_-]+")
_PROJECT_RULE = (
    "is proj_ and letters, digits, _ or -, as the project's settings page shows it; it is not the "
    "project's name."
)
_ORGANIZATION = re.compile(r"org-[A-Za-z0-9_-]+")
_TYPES = {
    str: "a string",
    bool: "a boolean",
    int: "a whole number",
    float: "a decimal number",
    list: "an array",
    dict: "a table",
    type(None): "null",
}


class FieldError(ValueError):
    """A field cannot hold this value. The message says why, and holds nothing of the value."""


def typed(value: Any, wanted: type) -> Any:
    """The value, if it is of just this type: a boolean is no number."""
    if type(value) is not wanted:
        what = _TYPES.get(type(value), "a date or time")
        raise FieldError(f"this is {what}; it must be {_TYPES[wanted]}.")
    return value


def text(value: object) -> str:
    """A text without a key in it."""
    if type(value) is not str:
        typed(value, str)
    elif find_key(value):
        raise FieldError(f"there is a raw key here. {NO_KEY_HERE}")
    return value  # type: ignore[return-value]


def project_id(value: object) -> str:
    """A project's id."""
    if not _PROJECT_ID.fullmatch(text(value)):
        raise FieldError(f"this is not a project id, which {_PROJECT_RULE}")
    return value  # type: ignore[return-value]


def is_project_id(value: str) -> bool:
    """Whether this is `proj_` and letters, digits, `_`, `-`, and no key pasted behind it."""
    return _PROJECT_ID.fullmatch(value) is not None and not find_key(value)


def alias(value: object) -> str:
    """A project's alias."""
    name = text(value)
    if not name or name != name.strip() or not name.isprintable():
        raise FieldError("an alias is a name of one line, not empty, with no space around it.")
    if name.startswith("proj_"):
        raise FieldError(
            "an alias must not look like a project id. Give it another name, or the project's own "
            "id for a project without an alias."
        )
    return name


def organization(value: object) -> str:
    """An organization's id."""
    if not _ORGANIZATION.fullmatch(text(value)):
        raise FieldError(
            "this is not an organization id, which is org- and letters, digits, _ or -."
        )
    return value  # type: ignore[return-value]


def service_account(value: object) -> str:
    """A service account's id."""
    if not text(value):
        raise FieldError("a service account's id is not empty.")
    return value  # type: ignore[return-value]


def fingerprint(value: object) -> bytes:
    """The digest that a key's fingerprint stands for."""
    if type(value) is str and FINGERPRINT.fullmatch(value):
        return digest_of(value)
    written = typed(value, str)
    if written.startswith(("sk-", "sk_", "ek-", "ek_", "sess-")):
        raise FieldError(
            f"this is a raw key ({hint_of(written)}), not a fingerprint. {NO_KEY_HERE}"
        )
    if FINGERPRINT.fullmatch(f"sha256:{written}"):
        raise FieldError(
            "this fingerprint lacks its beginning: put sha256: before the 64 hex digits."
        )
    raise FieldError(f"this is not a fingerprint. {HOW_TO_FINGERPRINT}")


def hint(value: object, key_digest: bytes) -> str:
    """What may be shown of the key with this digest."""
    shown_of_key = text(value)
    if not shown_of_key.isprintable():
        raise FieldError("a hint is text of one line.")
    _refuse_key_itself(shown_of_key, key_digest)
    return shown_of_key


def note(value: object, key_digest: bytes) -> str:
    """Whatever was noted with the key with this digest."""
    noted = text(value)
    for word in filter(is_secret, (noted, *noted.split())):
        _refuse_key_itself(word, key_digest)
    return noted


def _refuse_key_itself(value: str, key_digest: bytes) -> None:
    if digest(value) == key_digest:
        raise FieldError(f"this is the raw key. {NO_KEY_HERE}")


def validate_project_id(value: object) -> str:
    """The project id itself, if it is one; for an argument.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(value, str) and is_project_id(value):
        return value
    raise ConfigurationError(f"{shown(value)} is not a project id. A project id {_PROJECT_RULE}")


def validate_argument(name: str, rule: Callable[[object], object], value: object) -> None:
    """Refuses an argument that its field cannot hold.

    Raises:
        ConfigurationError: names the argument.
    """
    try:
        rule(value)
    except FieldError as error:
        raise ConfigurationError(f"{name}={shown(value)}: {error}") from None
