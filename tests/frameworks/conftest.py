"""Brings in what the frameworks' files share, where they are what is run."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Does nothing in a plain run, which reads this file but finds no test beside it."""
    if config.rootpath == Path(__file__).parent:
        pytest.register_assert_rewrite("common")
        config.pluginmanager.register(import_module("common"))
