"""What is known of one call. It travels on the call's own request and ends with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from openai_project_guard._check.call_site import ClientSite, Step
from openai_project_guard._check.header_settings import values_of
from openai_project_guard._check.headers import HeaderValues, RawHeaders
from openai_project_guard._registry.model import KeyRecord
from openai_project_guard._types import Destination, Outcome, Reason


class Call:
    """One call of the SDK, or one request of another library.

    Attributes:
        service_account: the service account in whose name the client sends it, if any.
        client_site: where its client was built, if an audit wants to know and that was seen.
        values: the headers that it passed with last; `None` until it passed.
        records: the registry's records that it passed by.
        judged: the outcome and the reason that were told of it last, if it was not the fast path.
        learns: whether the project of its unregistered key is to be learned from the answer.
        is_sent: it was sent, so its answer is checked, or was: by the hook that saw it leave.
    """

    __slots__ = (
        "client_site",
        "is_sent",
        "judged",
        "learns",
        "records",
        "service_account",
        "values",
    )

    def __init__(self, service_account: str | None = None) -> None:
        self.service_account = service_account
        self.client_site: str | None = None
        self.is_sent = False
        self.forget()

    def forget(self) -> None:
        """Forgets what it passed with."""
        self.values: HeaderValues | None = None
        self.records: tuple[KeyRecord, ...] = ()
        self.judged: tuple[Outcome, Reason | None] | None = None
        self.learns = False

    def as_raised(self, error: Exception, message: Any) -> BaseException:
        """A refusal in the form in which it gets through to the caller."""
        del message
        return error


@dataclass(frozen=True, slots=True, repr=False)
class HeaderSources:
    """Where the headers of a call come from, as far as that can be found out.

    Attributes:
        is_sdk: it is the SDK that sends the call.
        call_headers: the `extra_headers` of this call.
        client_headers: the `default_headers` of the client.
        http_headers: the headers of its HTTP client.
        settings: the client's arguments: `api_key`, `project`, `organization`.
        client_site: where the client was built; `None` where there is no client.
        websocket_note: on a WebSocket without a project, whether this SDK leaves it off.
        is_module: the client is the SDK's own, of `openai.chat` and the like.
    """

    is_sdk: bool = True
    call_headers: Mapping[str, Any] = field(default_factory=dict)
    client_headers: Mapping[str, Any] = field(default_factory=dict)
    http_headers: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    client_site: ClientSite | None = None
    websocket_note: str | None = None
    is_module: bool = False

    @property
    def brings_key(self) -> bool:
        """Whether the call has a key of its own, in its `extra_headers`."""
        return bool(values_of(self.call_headers, "Authorization"))

    def step_with(self, *names: str) -> Step | None:
        """The step that gave the client one of these arguments or headers, as `last_with()`."""
        return None if self.client_site is None else self.client_site.last_with(*names)

    def default_headers_with(self, header: str) -> str:
        """What an error calls the `default_headers` that the client has a header from."""
        step = self.step_with(header.lower())
        if step is None:
            return "the client's `default_headers`"
        return f"the `default_headers` of {step.as_call}"


class MessageAdapter(Protocol):
    """What the check must know of a kind of message: an HTTP request, a WebSocket handshake."""

    def headers(self, message: Any) -> RawHeaders:
        """Its headers, as they stand."""
        ...

    def host(self, message: Any) -> str:
        """The host it goes to."""
        ...

    def destination(self, message: Any) -> Destination:
        """Where it goes, for an observer, a log record or an error."""
        ...

    def put_project(self, message: Any, project: str) -> None:
        """Sets its `OpenAI-Project` header."""
        ...

    def header_sources(self) -> HeaderSources:
        """Where its headers come from; asked only for a wrong call."""
        ...

    def response_project(self, response: Any) -> bytes | None:
        """The project that the server's answer names, if it names one."""
        ...

    def status(self, response: Any) -> int:
        """The status of the server's answer."""
        ...
