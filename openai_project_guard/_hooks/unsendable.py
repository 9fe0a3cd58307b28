"""Calls that the SDK cannot even make a request of: their project is not ASCII.

httpx encodes headers as ASCII and raises a `UnicodeEncodeError` that names neither the header nor
the place that it comes from.
"""

from __future__ import annotations

from typing import Any

from openai_project_guard._check.call import Call
from openai_project_guard._check.check import refusal
from openai_project_guard._check.faults import log_fault
from openai_project_guard._check.header_settings import values_of
from openai_project_guard._check.headers import PROJECT_HEADER
from openai_project_guard._errors import OWN_FAULTS
from openai_project_guard._hooks.message import Message, MessageReader
from openai_project_guard._hooks.sdk_facts import header_sources


def refusal_of_unsendable(client: Any, options: Any) -> BaseException | None:
    """The refusal of a call whose project is not ASCII; `None` where that is not the matter."""
    try:
        sources = header_sources(client, getattr(options, "headers", None))
        project, *_ = (
            *values_of(sources.call_headers, PROJECT_HEADER),
            *values_of(sources.client_headers, PROJECT_HEADER),
            sources.settings["project"],
        )
        if not isinstance(project, str) or project.isascii():
            return None
        message = Message(
            str(getattr(options, "method", "")).upper(),
            str(client.base_url).removesuffix("/") + str(getattr(options, "url", "")),
            # In no local: whatever an observer or a signal raises passes this frame.
            [
                ("Authorization", f"Bearer {client.api_key or ''}"),
                (PROJECT_HEADER, project.encode("utf-8", "surrogatepass")),
            ],
        )
        return refusal(Call(), message, MessageReader(lambda: sources))
    except OWN_FAULTS as fault:
        log_fault(fault, "The SDK's own error was raised.")
        return None
