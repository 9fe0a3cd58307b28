"""Asks the API itself: one listing of the models, which costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openai_project_guard._cli.key_input import Secret, without_keys
from openai_project_guard._cli.temporary_guard import disabled

_TIMEOUT = 20.0  # seconds


@dataclass(frozen=True)
class Answer:
    """What the API said: the status is `None` where no answer came."""

    status: int | None
    code: str | None = None
    message: str | None = None
    project: str | None = None
    organization: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether the API took the call."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def error(self) -> str:
        """The status and the code of an error."""
        return f"{self.status} {self.code}" if self.code else str(self.status)

    @property
    def sentence(self) -> str:
        """An error, in the words of a sentence."""
        if self.status is None:
            return f"The API did not answer ({self.message})"
        return f"The API answered {self.error} ({self.message})"


def ask(key: Secret | None = None, headers: dict[str, str] | None = None, **options: Any) -> Answer:
    """Lists the models through `OpenAI(**options)`, with the guard off."""
    import openai

    try:
        with (
            disabled(),
            openai.OpenAI(
                api_key=key.reveal() if key else None, timeout=_TIMEOUT, max_retries=1, **options
            ) as client,
        ):
            response = client.models.with_raw_response.list(extra_headers=headers)
            return Answer(
                status=response.status_code,
                project=response.headers.get("openai-project"),
                organization=response.headers.get("openai-organization"),
            )
    except Exception as error:
        return answer_of(error)


def answer_of(error: Exception) -> Answer:
    """What the API said, where the SDK raised this error; no key is in it."""
    import openai

    if isinstance(error, openai.APIStatusError):
        message = error.body.get("message") if isinstance(error.body, dict) else None
        return Answer(error.status_code, error.code, without_keys(str(message or error.message)))
    cause = error.__cause__ or error
    return Answer(None, message=without_keys(str(cause) or type(cause).__name__))
