"""May several threads register keys at once?"""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from openai_project_guard import ConfigurationError, Registry
from openai_project_guard._registry.model import KeyRecord, Project, Snapshot, project_id

KEY = "sk-proj-0123456789abcdefghijAb3d"


class SlowSnapshot(Snapshot):
    """Between what was known of a key and what will be, every other thread has its turn."""

    __slots__ = ()

    def records(self, key_digest: bytes) -> tuple[KeyRecord, ...]:
        found = super().records(key_digest)
        time.sleep(0.001)
        return found


def test_no_project_of_a_key_is_lost() -> None:
    registry = Registry()
    registry.snapshot = SlowSnapshot()
    barrier = threading.Barrier(4)

    def register(number: int) -> None:
        barrier.wait()
        for project in range(10):
            registry.register(KEY, f"proj_{number}_{project}")

    threads = [threading.Thread(target=register, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry.lookup(KEY)) == 4 * 10


class ChangingProjects(dict[str, Project]):
    """Whoever goes through them is interrupted by a thread that adds one."""

    def values(self) -> Any:
        for number, project in enumerate(super().values()):
            self[f"proj_{number}"] = project
            yield project


def test_a_project_that_another_thread_adds_meanwhile_is_no_error() -> None:
    registry = Registry()
    registry.snapshot.projects = ChangingProjects()
    registry.register(KEY, "proj_a")
    assert project_id([registry], "proj_new") == "proj_new"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"organization": "Acme"}, "organization='Acme': this is not an organization id"),
        ({"organization": f"org-{KEY}"}, "its alias, note or organization has a key in it"),
        ({"note": 5}, "note=5: this is a whole number; it must be a string"),
        ({"note": f"it is {KEY}"}, "its alias, note or organization has a key in it"),
    ],
)
def test_what_a_file_could_not_hold_is_refused(arguments: dict[str, str], problem: str) -> None:
    registry = Registry()
    with pytest.raises(ConfigurationError, match=problem):
        registry.register(KEY, "proj_a", **arguments)
    assert len(registry) == 0
