"""What processes learn together: the first to learn a key's project has its way.

Two that learn different projects for a key cannot both be right, so then it belongs to neither,
until an administrator registers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from openai_project_guard._keys import fingerprint_of
from openai_project_guard._registry.model import KeyBinding, KeyBindings, ProjectFields
from openai_project_guard._registry.redis.client import Conflict, Fault
from openai_project_guard._registry.redis.entries import (
    Unfit,
    read_key,
    written_key,
    written_project,
)

if TYPE_CHECKING:
    from openai_project_guard._registry.redis.client import Store
    from openai_project_guard._types import Destination

Settled = Literal["written", "known", "disputed"]
_ATTEMPTS = 100  # a conflict means that another process got through, so this one will


class Learned(NamedTuple):
    """The server's word on a key, and the call that it came with."""

    hint: str
    project: str
    destination: Destination | None


def settle(store: Store, key_digest: bytes, learned: Learned) -> tuple[Settled, tuple[str, ...]]:
    """Writes what was learned, unless Redis knows better; gives the other projects in a dispute.

    Raises:
        Fault: it could not be written.
    """
    fingerprint = fingerprint_of(key_digest)
    for _ in range(_ATTEMPTS):
        revision = store.revision()
        value = store.key(fingerprint)
        if value is None:
            bindings: KeyBindings = {}
        else:
            try:
                _, bindings = read_key(fingerprint.encode(), value)
            except Unfit:
                return "known", ()  # an administrator must mend it
        others = tuple(project for project in bindings if project != learned.project)
        if any(not held.learned for held in bindings.values()) or (bindings and not others):
            return "known", ()
        is_disputed = any(held.disputed for held in bindings.values())
        if is_disputed and learned.project in bindings:
            return "disputed", others
        bindings[learned.project] = KeyBinding(learned.hint, "learned", learned=True)
        if others:
            bindings = {name: held._replace(disputed=True) for name, held in bindings.items()}
        is_new = learned.project.encode() not in store.projects()
        try:
            store.commit(
                revision,
                projects={learned.project: written_project(ProjectFields())} if is_new else {},
                keys={fingerprint: written_key(bindings)},
            )
        except Conflict:
            continue
        return ("disputed", others) if others else ("written", ())
    raise Fault("the registry changes faster than a learned key can be written")
