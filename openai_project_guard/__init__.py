"""Stops OpenAI calls whose `OpenAI-Project` header does not fit their API key, before they go.

Enable it with the environment variable `OPENAI_PROJECT_GUARD=enforce` and
`import openai_project_guard`, with `enable()`, or with `@guard` on the functions that make calls.
"""

# Nothing is imported here that the guard does not need while it is off: neither the SDK nor wrapt.
# A program that imports this package "just in case" must not pay for it.

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from openai_project_guard._errors import ConfigurationError, RegistryError, UnsupportedSDKError
from openai_project_guard._startup import at_import as _at_import
from openai_project_guard._types import Mode

if TYPE_CHECKING:
    from openai_project_guard._api import disable, enable, is_enabled, register
    from openai_project_guard._check.errors import (
        MalformedHeaderError,
        OrganizationMismatchError,
        ProjectGuardError,
        ProjectMismatchError,
        ProjectMissingError,
        ProjectScopeError,
        UnregisteredKeyError,
    )
    from openai_project_guard._check.observers import add_observer, remove_observer
    from openai_project_guard._check.verdict import Verdict
    from openai_project_guard._guard import guard
    from openai_project_guard._registry.entry import Entry
    from openai_project_guard._registry.registry import Registry

__all__ = [
    "ConfigurationError",
    "Entry",
    "MalformedHeaderError",
    "Mode",
    "OrganizationMismatchError",
    "ProjectGuardError",
    "ProjectMismatchError",
    "ProjectMissingError",
    "ProjectScopeError",
    "Registry",
    "RegistryError",
    "UnregisteredKeyError",
    "UnsupportedSDKError",
    "Verdict",
    "add_observer",
    "disable",
    "enable",
    "guard",
    "is_enabled",
    "register",
    "remove_observer",
]

_HOMES = {
    "Entry": "_registry.entry",
    "MalformedHeaderError": "_check.errors",
    "OrganizationMismatchError": "_check.errors",
    "ProjectGuardError": "_check.errors",
    "ProjectMismatchError": "_check.errors",
    "ProjectMissingError": "_check.errors",
    "ProjectScopeError": "_check.errors",
    "Registry": "_registry.registry",
    "UnregisteredKeyError": "_check.errors",
    "Verdict": "_check.verdict",
    "add_observer": "_check.observers",
    "disable": "_api",
    "enable": "_api",
    "guard": "_guard",
    "is_enabled": "_api",
    "register": "_api",
    "remove_observer": "_check.observers",
}


if not TYPE_CHECKING:  # or a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            from openai_project_guard._keys import redact

            name = redact(name)  # somebody pasted a key into the wrong place
            text = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=sys.modules[__name__])
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_at_import()
