"""A few mangled inputs of each kind in every run; `nox -s fuzz` tries many more."""

from __future__ import annotations

import pytest
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings


@pytest.mark.parametrize("name", list(TARGETS))
def test_it_raises_our_errors_only_and_shows_no_key(name: str, clean: pytest.MonkeyPatch) -> None:
    target = TARGETS[name]
    few = settings(
        max_examples=30,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    few(given(target.inputs)(target.check))()
