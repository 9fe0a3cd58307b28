"""What the tests of the hooks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import STRANGER, A, B

from openai_project_guard.loopback import LoopbackAPI, loopback_api


@pytest.fixture
def api() -> Iterator[LoopbackAPI]:
    """The API on this machine, which knows the keys of two projects and one more."""
    with loopback_api({A: "proj_a", B: "proj_b", STRANGER: "proj_x"}) as server:
        yield server
