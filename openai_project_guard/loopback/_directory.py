"""Which key belongs to which project, and which calls the server therefore refuses."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_project_guard._keys import digest, hint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ADMIN_KEY = "sk-admin-demo-not-a-real-key-Qr7t"
"""Known to every loopback server; opens the Administration endpoints and nothing else."""

DEFAULT_KEYS: Mapping[str, str | Sequence[str]] = MappingProxyType(
    {
        "sk-proj-demo-support-not-a-real-key-Ab3d": "proj_support",
        "sk-proj-demo-billing-not-a-real-key-Ef5g": "proj_billing",
        "sk-svcacct-demo-research-not-a-real-key-Hj7k": "proj_research",
        # A legacy user key has one dash and works in every project its user is a member of.
        "sk-DemoLegacyUserLm9n": ("proj_support", "proj_research"),
    }
)
"""What `loopback_api()` knows when it is given no keys: a key and its project, or projects."""

ADMINISTRATION = ("/v1/organization/", "/v1/projects/")


class RefusedError(Exception):
    """A call that gets an OpenAI error object instead of an answer."""

    def __init__(
        self, status: int, code: str | None, message: str, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        self.body: dict[str, Any] = {"error": error}


@dataclass(frozen=True)
class LoopbackProject:
    """A project that the server knows even if no key belongs to it.

    Args:
        id: for instance `proj_support`.
        name: what the Administration API shows. Default: the id.
        archived: whether it is listed only with `include_archived`. Default: `False`.

    Example:
        >>> LoopbackProject("proj_old", "Old chatbot", archived=True).name
        'Old chatbot'
    """

    id: str
    name: str = ""
    archived: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.id)  # it is frozen


class KnownKey(NamedTuple):
    """All that the server keeps of a key; the key cannot be read back from it."""

    fingerprint: str
    hint: str
    projects: tuple[str, ...]
    is_admin: bool
    is_service_account: bool


def _record(key: str, projects: str | Sequence[str]) -> KnownKey:
    return KnownKey(
        fingerprint=digest(key).hex(),
        hint=hint(key),
        projects=(projects,) if isinstance(projects, str) else tuple(projects),
        is_admin=key.startswith("sk-admin-"),
        is_service_account=key.startswith("sk-svcacct-"),
    )


class Directory:
    """The organization: its projects, and its keys by fingerprint."""

    def __init__(
        self,
        keys: Mapping[str, str | Sequence[str]],
        projects: Iterable[LoopbackProject],
        organization: str,
    ) -> None:
        self.organization = organization
        records = [_record(key, owners) for key, owners in keys.items()]
        records.append(_record(ADMIN_KEY, ()))
        self.keys = {record.fingerprint: record for record in records}
        self.projects = {project.id: project for project in projects}
        for record in records:
            if not record.is_admin and not record.projects:
                raise ValueError(f"key {record.hint} has no project")
            for project in () if record.is_admin else record.projects:
                self.projects.setdefault(project, LoopbackProject(project))

    def bill(
        self, path: str, key: str | None, project: str | None, organization: str | None
    ) -> str | None:
        """Say which project pays for a call (`None` with an admin key), or raise `RefusedError`."""
        if not key:
            raise RefusedError(401, None, "You didn't provide an API key.")
        record = self.keys.get(digest(key).hex())
        if record is None:
            raise RefusedError(401, "invalid_api_key", f"Incorrect API key provided: {hint(key)}.")
        if organization and organization != self.organization:
            raise RefusedError(
                401,
                "mismatched_organization",
                "OpenAI-Organization header should match organization for API key",
            )
        if not record.is_admin and project and project not in record.projects:
            raise RefusedError(
                401,
                "mismatched_project",
                "OpenAI-Project header should match project for API key",
            )
        if record.is_admin != path.startswith(ADMINISTRATION):
            kind = "an admin key" if record.is_admin else "this key"
            raise RefusedError(
                403, "insufficient_permissions", f"{path} cannot be called with {kind}."
            )
        return None if record.is_admin else project or record.projects[0]
