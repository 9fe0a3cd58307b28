"""May several threads register keys at once?"""

from __future__ import annotations

import sys
import threading

import pytest

from openai_project_guard import ConfigurationError, Registry

KEY = "sk-proj-0123456789abcdefghijAb3d"


def test_no_project_of_a_key_is_lost() -> None:
    registry = Registry()
    barrier = threading.Barrier(8)

    def register(number: int) -> None:
        barrier.wait()
        for project in range(50):
            registry.register(KEY, f"proj_{number}_{project}")

    threads = [threading.Thread(target=register, args=(number,)) for number in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(registry.lookup(KEY)) == 8 * 50


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"organization": "Acme"}, "organization='Acme': this is not an organization id"),
        ({"organization": f"org-{KEY}"}, "its note or its organization has a key in it"),
        ({"note": 5}, "note=5: this is a whole number; it must be a string"),
        ({"note": f"it is {KEY}"}, "its note or its organization has a key in it"),
    ],
)
def test_what_a_file_could_not_hold_is_refused(arguments: dict[str, str], problem: str) -> None:
    registry = Registry()
    with pytest.raises(ConfigurationError, match=problem):
        registry.register(KEY, "proj_a", **arguments)
    assert len(registry) == 0
