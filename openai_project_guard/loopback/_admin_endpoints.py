"""The Administration endpoints, and the pages in which the server gives a list."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from openai_project_guard.loopback._directory import (
    Directory,
    KnownKey,
    LoopbackProject,
    RefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EPOCH = 1_700_000_000


def page(
    items: Sequence[dict[str, Any]], query: Mapping[str, str], *, default: int, largest: int
) -> dict[str, Any]:
    """The page of a list that a query asks for."""
    limit, after = query.get("limit", str(default)), query.get("after")
    if not limit.isdecimal() or not 1 <= int(limit) <= largest:
        raise RefusedError(400, None, f"limit must be from 1 to {largest}", "limit")
    start = 0
    if after:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise RefusedError(400, None, "after must be the id of an item of this list", "after")
        start = ids.index(after) + 1
    data = items[start : start + int(limit)]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": start + len(data) < len(items),
    }


class Administration:
    """The two Administration endpoints, with their lists built at the first call."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        """The page that `path` asks for, or `None` if it is some other endpoint."""
        match path.removeprefix("/v1/organization/").split("/"):
            case ["projects"]:
                items = self._projects
                if query.get("include_archived") != "true":
                    items = [project for project in items if project["status"] == "active"]
            case ["projects", project, "api_keys"]:
                if project not in self._directory.projects:
                    raise RefusedError(404, "not_found", f"No such project: {project}")
                items = self._keys.get(project, [])
            case _:
                return None
        return page(items, query, default=20, largest=100)

    @cached_property
    def _projects(self) -> list[dict[str, Any]]:
        return [_project(project) for project in self._directory.projects.values()]

    @cached_property
    def _keys(self) -> dict[str, list[dict[str, Any]]]:
        by_project: dict[str, list[dict[str, Any]]] = {}
        for record in self._directory.keys.values():
            # A legacy user key of several projects is its user's, and no project lists it.
            if not record.is_admin and len(record.projects) == 1:
                of_project = by_project.setdefault(record.projects[0], [])
                of_project.append(_api_key(record, number=len(of_project) + 1))
        return by_project


def _project(project: LoopbackProject) -> dict[str, Any]:
    return {
        "id": project.id,
        "object": "organization.project",
        "name": project.name,
        "created_at": _EPOCH,
        "archived_at": _EPOCH + 1 if project.archived else None,
        "status": "archived" if project.archived else "active",
    }


def _api_key(record: KnownKey, number: int) -> dict[str, Any]:
    kind = "service_account" if record.is_service_account else "user"
    owner = {
        "id": f"user-loopback-{number}",
        "object": f"organization.project.{kind}",
        "name": f"Loopback {number}",
        "role": "member",
        "created_at": _EPOCH,
    }
    if kind == "user":
        owner["email"] = f"loopback-{number}@example.com"
    return {
        "id": f"key_{record.fingerprint[:16]}",
        "object": "organization.project.api_key",
        "name": f"Key {number}",
        "redacted_value": record.hint.replace("…", "****..."),
        "created_at": _EPOCH + number,
        "last_used_at": None,
        "owner": {"type": kind, kind: owner},
        "owner_project_access": "active",
    }
