"""What is about to be sent: the headers of one call that a verdict rests on, read in one pass."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from operator import itemgetter
from typing import Literal, NamedTuple

from openai_project_guard._keys import hint, without_known_keys
from openai_project_guard._state import STATE
from openai_project_guard._types import Credential

PROJECT_HEADER = "OpenAI-Project"
KeyFlaw = Literal["second", "list", "bearer", "basic", "quotes", "form"]
"""What is wrong with the form of a key: another stands in `api-key`; it is one of several; it has
another `Bearer`, or quotes; it is the password of Basic; or something else."""
_LONGEST = 500  # characters
_BETWEEN = re.compile(rb"[\s,;:=\"'<>()\[\]{}|&]+")  # what a key in an unusual form stands between
_FROM_URLSAFE = bytes.maketrans(b"-_", b"+/")
_CREDENTIALS = (b"authorization", b"api-key")
_READ = frozenset({*_CREDENTIALS, b"openai-project", b"openai-organization"})
_IN_LAYOUT = (b"authorization", b"openai-project", b"openai-organization", b"api-key")

RawHeaders = Sequence[tuple[bytes, bytes, bytes]]
"""Headers as httpx keeps them: name as written, name in lower case, value."""


class HeaderValues(NamedTuple):
    """What a verdict rests on. It holds no key.

    A header that is there more than once is kept as its values joined by a newline. No header may
    contain one, so the join cannot be mistaken for a single value, and it never passes.

    Attributes:
        key_digest: SHA-256 of the call's key, or `None` where it carries none.
        project: the `OpenAI-Project` header.
        organization: the `OpenAI-Organization` header.
        second_digest: SHA-256 of another key in `api-key`, beside the one in `Authorization`.
    """

    key_digest: bytes | None
    project: bytes | None
    organization: bytes | None
    second_digest: bytes | None = None


class _Layout(NamedTuple):
    """The names of a request's headers, and the positions of those that are read: one of each."""

    names: list[bytes] | None
    authorization: int
    project: int
    organization: int | None


name_of = itemgetter(1)
"""A header's name in lower case."""
_new_tuple = tuple.__new__  # a named tuple's own is written in Python

_layout = _Layout(None, 0, 0, None)
"""That of the last request: a program sends the same headers in nearly each of its calls, and
comparing all the names in one step is cheaper than looking at each."""


def read_headers(headers: RawHeaders) -> HeaderValues:
    """Reads them in one pass; the key itself does not leave this function."""
    names, at_key, at_project, at_organization = _layout
    found = list(map(name_of, headers))
    if found == names and headers[at_key][2][:7] == b"Bearer ":
        key = headers[at_key][2][7:].strip()
        if key:
            organization = None if at_organization is None else headers[at_organization][2]
            values = (sha256(key).digest(), headers[at_project][2], organization, None)
            return _new_tuple(HeaderValues, values)
    else:
        _remember(found)
    return _read_each(headers)


def _remember(names: list[bytes]) -> None:
    global _layout
    counts = [names.count(name) for name in _IN_LAYOUT]
    if counts in ([1, 1, 0, 0], [1, 1, 1, 0]):
        authorization, project, organization = _IN_LAYOUT[:3]
        _layout = _Layout(
            names,
            names.index(authorization),
            names.index(project),
            names.index(organization) if counts[2] else None,
        )


def _read_each(headers: RawHeaders) -> HeaderValues:
    authorization: bytes | None = None
    project: bytes | None = None
    organization: bytes | None = None
    api_key: bytes | None = None
    for _, name, value in headers:
        if name in _READ:
            if name == b"authorization":
                authorization = value if authorization is None else authorization + b"\n" + value
            elif name == b"openai-project":
                project = value if project is None else project + b"\n" + value
            elif name == b"api-key":  # Azure's, and some gateways'
                api_key = value if api_key is None else api_key + b"\n" + value
            else:
                organization = value if organization is None else organization + b"\n" + value
    if authorization is None:
        key = api_key
    elif authorization[:7] == b"Bearer ":
        key = authorization[7:].strip()
    else:
        key = _bearer(authorization)
    if api_key is None or key is api_key:
        return HeaderValues(sha256(key).digest() if key else None, project, organization)
    if not key:  # a blank Authorization must not hide the other key
        return HeaderValues(sha256(api_key).digest() if api_key else None, project, organization)
    second = sha256(api_key).digest() if api_key and api_key != key else None
    return HeaderValues(sha256(key).digest(), project, organization, second)


class MalformedKey(NamedTuple):
    """A credential that is not one Bearer key.

    Attributes:
        flaw: what is wrong with it.
        registered: the digests of the registered keys that are in it.
    """

    flaw: KeyFlaw
    registered: tuple[bytes, ...] = ()


class HeaderTexts(NamedTuple):
    """The same as text, for whoever reads it."""

    key_digest: bytes | None
    project: str | None
    organization: str | None
    malformed_key: MalformedKey | None = None

    @classmethod
    def of(cls, values: HeaderValues) -> HeaderTexts:
        """The headers as text."""
        return cls(values.key_digest, _text(values.project), _text(values.organization))

    def shown(self) -> HeaderTexts:
        """The same as an error, a log record or an observer may have it: without a key."""
        texts = (self.project, self.organization)
        project, organization = (text and self.without_keys(text) for text in texts)
        return self._replace(project=project, organization=organization)

    def without_keys(self, text: str) -> str:
        """A text of this call as it may be shown.

        Whatever looks like a key is replaced by its hint, and so is the call's own key and each
        registered one, of whatever form.
        """
        return without_known_keys(text, self._is_key)

    def _is_key(self, key_digest: bytes) -> bool:
        return key_digest == self.key_digest or STATE.knows(key_digest)


def shortened(text: str) -> str:
    """The beginning of a text: what is shown of a call is kept, and a header has any length."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def read_hint(headers: RawHeaders) -> str:
    """What may be shown of the call's key."""
    return " and ".join(hint(key.decode("latin-1")) for key in _keys(headers))


def read_credential(headers: RawHeaders) -> Credential:
    """What kind of credential the call carries."""
    keys = _keys(headers)
    if len(keys) > 1:
        return "malformed"
    if keys[0].startswith(b"sk-admin-"):
        return "admin"
    return "ephemeral" if keys[0].startswith(b"ek_") else "key"


def _keys(headers: RawHeaders) -> list[bytes]:
    found = [(name, _bearer(value)) for _, name, value in headers if name in _CREDENTIALS]
    found = [(name, key) for name, key in found if key] or found
    return [key for name, key in found if name == b"authorization"] or [key for _, key in found]


def candidate_digests(headers: RawHeaders) -> list[bytes]:
    """The digests of whatever may be a key among the call's credentials.

    For those that are not one Bearer key: several of them, another scheme, keys in a list, a key
    in quotes or brackets or behind its name, one as the password of Basic.
    """
    values = b" ".join(value for _, name, value in headers if name in _CREDENTIALS)
    words = values.replace(b",", b" ").split()
    parts = [word.strip(b"\"'") for word in words] + _BETWEEN.split(values)
    for text in {*words, *parts}:
        for encoded in {text, text.translate(_FROM_URLSAFE)}:
            with suppress(ValueError):  # it is not base64
                parts += _BETWEEN.split(b64decode(encoded + b"=="))  # what it may lack
    return [sha256(part).digest() for part in parts]


def flaw_of_key(headers: RawHeaders) -> KeyFlaw:
    """What is wrong with a credential that is not one Bearer key."""
    given = {name for _, name, value in headers if name in _CREDENTIALS and _bearer(value)}
    if len(given) > 1:
        return "second"
    key, *others = _keys(headers)
    if others or b"," in key:
        return "list"
    word = key.partition(b" ")[0].lower()
    if word in (b"bearer", b"basic"):
        return "bearer" if word == b"bearer" else "basic"
    return "quotes" if key[:1] in (b'"', b"'") else "form"


def _bearer(authorization: bytes) -> bytes:
    """The key of an Authorization header; a scheme other than Bearer is taken as it stands.

    Whatever stands there is a credential, and one that is not understood must not pass for none.
    """
    parts = authorization.split(None, 1)
    if not parts:
        return b""
    return parts[1].strip() if len(parts) > 1 and parts[0].lower() == b"bearer" else authorization
