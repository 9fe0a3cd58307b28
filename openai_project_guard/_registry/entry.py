"""What a registry says of one key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered key, as `lookup()` and iteration over a `Registry` give it.

    Attributes:
        fingerprint: `sha256:` and 64 hexadecimal digits.
        hint: what may be shown of the key, such as `sk-proj-…Ab3d`; empty where it is not known.
        project: the id of the project, `proj_…`.
        alias: the name that `guard(project=...)` accepts beside the id, or `None`.
        organization: the organization's id, or `None` where it is not checked.
        note: whatever was noted with the key, or `None`.
        place: where the entry stands: a file and its line, a variable, a line of code.

    Example:
        >>> from openai_project_guard import Registry
        >>> registry = Registry()
        >>> registry.register("sk-proj-0123456789Ab3d", "proj_support")
        >>> [(entry.project, entry.hint) for entry in registry]
        [('proj_support', 'sk-proj-…Ab3d')]
    """

    fingerprint: str
    hint: str
    project: str
    alias: str | None
    organization: str | None
    note: str | None
    place: str
