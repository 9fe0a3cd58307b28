"""A registry to try changes on: nothing of it is ever written."""

from __future__ import annotations

from openai_project_guard._registry import stores
from openai_project_guard._registry.changes import Draft


def preview(address: str) -> Draft:
    """A draft of what is there, without a lock and without a way to write it.

    Raises:
        RegistryError: the registry cannot be read.
    """
    return Draft(stores.find(address))
