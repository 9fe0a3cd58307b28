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
    def sentence(self) -> str:
        """An error, in the words of a sentence."""
        if self.status is None:
            return f"The API did not answer ({self.message})"
        code = f" {self.code}" if self.code else ""
        return f"The API answered {self.status}{code} ({self.message})"


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
    except openai.APIStatusError as error:
        message = error.body.get("message") if isinstance(error.body, dict) else None
        return Answer(error.status_code, error.code, without_keys(str(message or error.message)))
    except Exception as error:
        cause = error.__cause__ or error
        return Answer(None, None, without_keys(str(cause) or type(cause).__name__))
