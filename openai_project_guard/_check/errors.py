"""The errors of a refused call. Importing this module imports the SDK, so only those do who must.

They are `openai.OpenAIError`s: code that handles the SDK's errors handles these.
"""

# No `from __future__ import annotations`: these classes bear the package's name, where a tool that
# evaluates their annotations would look for the names in them.

from typing import Any, Final

from openai import OpenAIError

from openai_project_guard._check.verdict import Verdict
from openai_project_guard._types import Reason


class ProjectGuardError(OpenAIError):
    """A call was refused before anything was sent.

    Args:
        message: the whole explanation.
        verdict: what was decided. Left out only by who rebuilds an error from its `args`, as some
            task queues do: such a copy has `None` there.

    Attributes:
        verdict: what was decided: reason, expected and actual project, key hint, destination.
        status_code: 400, a wrong request's, though no server was asked.

    Example:
        >>> try:
        ...     client.models.list()
        ... except ProjectGuardError as error:
        ...     print(error.verdict.reason)
        mismatch
    """

    # LiteLLM, and DSPy over it, take an error without a status for a server's and try again. With
    # 401, which the API says of a wrong project, LiteLLM's Router shuts the deployment out for a
    # while, and says that there is none instead of why.
    status_code: Final = 400

    verdict: Verdict

    def __init__(self, message: str, verdict: Verdict | None = None) -> None:
        super().__init__(message)
        self.verdict = verdict  # type: ignore[assignment]  # every error that we raise has one

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.verdict), self.__dict__


class ProjectMismatchError(ProjectGuardError):
    """The `OpenAI-Project` header names another project than the one the key belongs to."""


class ProjectMissingError(ProjectGuardError):
    """The call has no `OpenAI-Project` header, or an empty one."""


class UnregisteredKeyError(ProjectGuardError):
    """The call goes to OpenAI with a key that no registry knows."""


class ProjectScopeError(ProjectGuardError):
    """Inside a pinned scope: the key or the header belongs to another project."""


class OrganizationMismatchError(ProjectGuardError):
    """The `OpenAI-Organization` header names another organization than the registry."""


class MalformedHeaderError(ProjectGuardError):
    """The header is there more than once, or has characters that no project id has.

    Or a registered key is in quotes, behind a second `Bearer `, sent by `Basic`, or beside another.
    """


BY_REASON: dict[Reason, type[ProjectGuardError]] = {
    "mismatch": ProjectMismatchError,
    "missing": ProjectMissingError,
    "unregistered": UnregisteredKeyError,
    "scope": ProjectScopeError,
    "organization": OrganizationMismatchError,
    "malformed": MalformedHeaderError,
}

for _public in (ProjectGuardError, *BY_REASON.values()):
    _public.__module__ = "openai_project_guard"  # the name by which users know it
