"""Reads projects and their keys' redacted values from the Administration API, page by page."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from openai_project_guard._cli.api_probe import answer_of
from openai_project_guard._cli.key_input import ADMIN_KEY, Secret
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import digest, fingerprint_of

_PAGE = 100  # items, the most that the API gives
_TIMEOUT = 60.0  # seconds
_LONGEST_WAIT = 900.0
"""Seconds that a page is waited for while the API answers 429, beyond the SDK's own retries."""
_PAUSE = 20.0  # seconds, where a 429 does not say how long
_SHORTEST_PAUSE = 0.1
# What the API hides of a key: sk-abc...def, sk-proj-****...Ab3d.
_REDACTED = re.compile(r"\A([\w-]*)(?:…|[*.…•]{2,})([\w-]*)")
_CONTINUE = "Run the command again: it continues there"
_SHORTEST_END = 3  # characters of the end; fewer say too little about whose key it is


class RemoteKey(NamedTuple):
    """A key of a project, as the API lists it: what it shows of it is no key."""

    id: str
    redacted_value: str

    def fits(self, secret: Secret) -> bool:
        """Whether this may be the local key, as far as the redacted value tells."""
        found = _REDACTED.fullmatch(self.redacted_value)
        head, tail = found.groups() if found else ("", "")
        return (
            len(tail) >= _SHORTEST_END
            and secret.reveal().startswith(head)
            and secret.reveal().endswith(tail)
            and len(secret.reveal()) > len(head) + len(tail)
        )


class Administration:
    """The Administration API, by path: the SDK has an admin client only since 2.35.0.

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
        # No local variable holds the key: the traceback of an error could show it.
        self._client = openai.OpenAI(api_key=os.environ[ADMIN_KEY].strip(), timeout=_TIMEOUT)
        # Of the organization, not of the project that happens to be set for other calls.
        self._client.project = None
        self._wait = wait

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    @property
    def identity(self) -> str:
        """Whose projects these are: the API's address, and the admin key's fingerprint."""
        return f"{self._client.base_url} {fingerprint_of(digest(self._client.api_key))}"

    def projects(self, *, include_archived: bool) -> Iterator[tuple[str, str]]:
        """Lists the projects of the organization: the id and the name of each."""
        query = {"include_archived": "true"} if include_archived else {}
        for item in self._items("/organization/projects", query):
            yield item["id"], item.get("name") or ""

    def keys(self, project: str) -> Iterator[RemoteKey]:
        """Lists the keys of a project."""
        # Without it the API leaves keys out whose owner has left the project, though they work.
        query = {"owner_project_access": "any"}
        for item in self._items(f"/organization/projects/{project}/api_keys", query):
            yield RemoteKey(item["id"], item.get("redacted_value") or "")

    def _items(self, path: str, query: dict[str, str]) -> Iterator[Any]:
        """The items of every page."""
        query = {**query, "limit": str(_PAGE)}
        while True:
            page = self._get(path, query)
            yield from page.get("data") or ()
            last = page.get("last_id")
            if not page.get("has_more") or not last or last == query.get("after"):
                return
            query["after"] = last

    def _get(self, path: str, query: dict[str, str]) -> Any:
        """What the API answers; a rate limit is waited for, any other error is ours."""
        import openai

        waited = 0.0
        while True:
            try:
                return self._client.get(path, cast_to=object, options={"params": query})
            except openai.APIStatusError as error:
                answer, pause = answer_of(error), _pause(error.response.headers)
            except openai.OpenAIError as error:
                answer, pause = answer_of(error), 0.0
            waited += pause
            is_limit = answer.status == 429 and answer.code != "insufficient_quota"
            if not is_limit or waited > _LONGEST_WAIT:
                break
            self._wait(pause)
        problem = "gave no answer" if answer.status is None else f"answered {answer.error}"
        why = str(answer.message).rstrip(".")
        fix = f"Check {ADMIN_KEY}" if answer.status in (401, 403) else _CONTINUE
        raise ConfigurationError(
            f"The Administration API at {self._client.base_url.host} {problem} ({why}). {fix}."
        )


def _pause(headers: Any) -> float:
    """The seconds that a 429 asks to wait, in any of the three ways in which it may say so."""
    after = headers.get("retry-after", "")
    for text, unit in ((headers.get("retry-after-ms", ""), 0.001), (after, 1.0)):
        with suppress(ValueError):
            if math.isfinite(pause := float(text) * unit):
                return max(pause, _SHORTEST_PAUSE)
    with suppress(TypeError, ValueError):
        return max(parsedate_to_datetime(after).timestamp() - time.time(), _SHORTEST_PAUSE)
    return _PAUSE
