"""The errors of a refused call. Importing this module imports the SDK, so only those do who must.

They are `openai.OpenAIError`s: code that handles the SDK's errors handles these.
"""

from __future__ import annotations

from typing import Any

from openai import OpenAIError

from openai_project_guard._verdict import Verdict
from openai_project_guard._words import Reason


class ProjectGuardError(OpenAIError):
    """A call was refused before anything was sent.

    Args:
        message: the whole explanation.
        verdict: what was decided.

    Attributes:
        verdict: what was decided: reason, expected and actual project, key hint, destination.

    Example:
        >>> try:
        ...     client.models.list()
        ... except ProjectGuardError as error:
        ...     print(error.verdict.reason)
        mismatch
    """

    verdict: Verdict

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict

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
    """The header is there more than once, or has characters that no project id has."""


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
