"""Reads projects and their keys' redacted values from the Administration API, page by page."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NamedTuple

from openai_project_guard._cli.secret import Secret, without_keys
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import digest, fingerprint_of

ADMIN_KEY = "OPENAI_ADMIN_KEY"

_PAGE = 100  # items, the most that the API gives
_TIMEOUT = 60.0  # seconds
_PATIENCE = 900.0
"""Seconds that a page is waited for while the API answers 429, beyond the SDK's own retries."""
_PAUSE = 20.0  # seconds, where a 429 does not say how long
_SHORTEST_PAUSE = 0.1
# What the API hides of a key: sk-abc...def, sk-proj-****...Ab3d.
_REDACTED = re.compile(r"\A([\w-]*)(?:…|[*.…•]{2,})([\w-]*)")
_GO_ON = "Run the command again: it goes on from there"
_LEAST = 3  # characters of the end; fewer say too little about whose key it is


class RemoteProject(NamedTuple):
    """A project, as the API lists it."""

    id: str
    name: str


class RemoteKey(NamedTuple):
    """A key of a project, as the API lists it: what it shows of it is no key."""

    id: str
    redacted_value: str

    def fits(self, secret: Secret) -> bool:
        """Whether this may be the key at hand, as far as the redacted value tells."""
        found = _REDACTED.fullmatch(self.redacted_value)
        if found is None:
            return False
        head, tail = found.groups()
        return (
            len(tail) >= _LEAST
            and secret.reveal().startswith(head)
            and secret.reveal().endswith(tail)
            and len(secret.reveal()) > len(head) + len(tail)
        )


class Administration:
    """The Administration API, through the admin client of the SDK where it has one (2.35.0).

    Args:
        wait: waits so many seconds when the API asks for it.

    Raises:
        ConfigurationError: `OPENAI_ADMIN_KEY` is not set.
    """

    def __init__(self, wait: Callable[[float], None] = time.sleep) -> None:
        import openai

        if not os.environ.get(ADMIN_KEY, "").strip():
            raise ConfigurationError(
                f"{ADMIN_KEY} is not set. Set it to an admin key (sk-admin-…) of the organization; "
                "its owners make one in the organization's settings."
            )
        client_type: Any = openai.OpenAI
        has_admin = hasattr(client_type, "admin")
        names = ("api_key", "admin_api_key") if has_admin else ("api_key",)
        # The key stands in no variable of ours, which an error's traceback could show.
        self._client = client_type(
            timeout=_TIMEOUT, **dict.fromkeys(names, os.environ[ADMIN_KEY].strip())
        )
        # Of the organization, not of the project that happens to be set for other calls.
        self._client.project = None
        self._projects: Any = self._client.admin.organization.projects if has_admin else None
        self._wait = wait

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    @property
    def identity(self) -> str:
        """Whose projects these are: the API's address, and the admin key's fingerprint."""
        return f"{self._client.base_url} {fingerprint_of(digest(self._client.api_key))}"

    def projects(self, *, include_archived: bool) -> Iterator[RemoteProject]:
        """Lists the projects of the organization."""
        listing = self._projects and self._projects.list
        query = {"include_archived": "true"} if include_archived else {}
        for item in self._items(listing, (), "/organization/projects", query):
            yield RemoteProject(_field(item, "id"), _field(item, "name") or "")

    def keys(self, project: str) -> Iterator[RemoteKey]:
        """Lists the keys of a project."""
        listing = self._projects and self._projects.api_keys.list
        # Without it the API leaves keys out whose owner has left the project, though they work.
        query = {"owner_project_access": "any"}
        path = f"/organization/projects/{project}/api_keys"
        for item in self._items(listing, (project,), path, query):
            yield RemoteKey(_field(item, "id"), _field(item, "redacted_value") or "")

    def _items(
        self, listing: Any, arguments: tuple[str, ...], path: str, query: dict[str, str]
    ) -> Iterator[Any]:
        """The items of every page, through a method of the admin client or by the path."""
        query = {**query, "limit": str(_PAGE)}
        while True:
            if listing is not None:
                ask = partial(listing, *arguments, extra_query=query)
            else:
                options: Any = {"params": query}
                ask = partial(self._client.get, path, cast_to=object, options=options)
            page = self._patiently(ask)
            yield from _field(page, "data") or ()
            last = _field(page, "last_id")
            if not _field(page, "has_more") or not last or last == query.get("after"):
                return
            query = {**query, "after": last}

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """What the API answers; a rate limit is waited for, any other error is ours."""
        import openai

        waited = 0.0
        while True:
            try:
                return ask()
            except openai.RateLimitError as error:  # noqa: PERF203 - each try may wait
                pause = _pause(error.response.headers)
                waited += pause
                if error.code == "insufficient_quota" or waited > _PATIENCE:
                    problem = _said(error)
                    break
                self._wait(pause)
            except openai.APIStatusError as error:
                problem = _said(error)
                break
            except openai.OpenAIError as error:
                cause = error.__cause__ or error
                problem = (
                    f"gave no answer ({without_keys(str(cause) or type(cause).__name__)}). {_GO_ON}"
                )
                break
        raise ConfigurationError(
            f"The Administration API at {self._client.base_url.host} {problem}."
        )


def _said(error: Any) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    code = f" {error.code}" if error.code else ""
    said = without_keys(str(body.get("message") or error.message)).rstrip(".")
    cure = f"Check {ADMIN_KEY}" if error.status_code in (401, 403) else _GO_ON
    return f"answered {error.status_code}{code} ({said}). {cure}"


def _pause(headers: Any) -> float:
    """The seconds that a 429 asks to wait, in any of the three ways in which it may say so."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            pause = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(pause):
            return max(pause, _SHORTEST_PAUSE)
    try:
        until = parsedate_to_datetime(headers.get("retry-after", "")).timestamp()
    except (TypeError, ValueError):
        return _PAUSE
    return max(until - time.time(), _SHORTEST_PAUSE)


def _field(item: Any, name: str) -> Any:
    """A field of an answer, which is a model of the SDK or, without an admin client, a dict."""
    return item.get(name) if isinstance(item, dict) else getattr(item, name, None)
