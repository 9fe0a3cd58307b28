"""How a registry is put right: by a command that reaches it, or in the code that holds it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from openai_project_guard._env import default_registries, registry_names
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._registry.model import LEARNED_PLACE, KeyRecord
from openai_project_guard._registry.stores import is_url
from openai_project_guard._state import STATE

_PROGRAM = "openai-project-guard"
_OF_CODE = "what enable(registry=...) was given, or register() it"


def place_of(record: KeyRecord, needle: str) -> str:
    """Where an entry stands: that of a key by its fingerprint, or that of a service account."""
    return record.project.place.of(record.service_account or needle, record.project.id)


def register_key(project: str, records: Sequence[KeyRecord] = (), *, also: bool = False) -> str:
    """What registers a call's key in a registry that is read here.

    Args:
        project: the project's id, or what stands for it.
        records: the key's records, if it has any: their registry is the first choice.
        also: register it beside these.
    """
    settings = STATE.active
    sources = settings.sources if settings else ()
    readable = sorted(sources, key=lambda source: source.problem is not None)
    addresses = [record.project.place.address for record in records]
    address = next(filter(None, (*addresses, *(source.writable_at for source in readable))), None)
    if address is None and settings is not None and settings.is_in_code:
        return f"add it to {_OF_CODE}"
    if address is None and sources:  # of another package, whose registries are only read
        return f"add it to {' or '.join(source.name for source in sources)}"
    command = _register(project, address, also=also)
    return f"{command}, where NAME is the variable that holds the key{_and_url(address)}"


def correct_entries(wrong: Sequence[KeyRecord], needle: str, *, has_others: bool) -> str:
    """What takes a key out of entries that the server contradicted, and puts it where it belongs.

    Args:
        wrong: the records, of one project, in as many registries as have them.
        needle: the key's fingerprint.
        has_others: whether the key is registered for other projects too, which may be right.
    """
    removals: dict[str, str] = {}
    edits: list[str] = []
    is_learned = False
    for record in wrong:
        place = record.project.place
        is_learned |= place.name == LEARNED_PLACE
        if place.address is not None and record.service_account is None:
            what = record.hint or needle[:23]  # as many digits of it as are surely enough
            of = f" --project {record.project.id}" if has_others else ""
            option = _registry_option(place.address)
            removals[place.address] = f"{_PROGRAM} remove {what}{of}{option}"
        elif place.name != LEARNED_PLACE:
            edits.append(f"correct it in {place_of(record, needle)}")
    steps = []
    if removals:
        first, unless = next(iter(removals)), ""
        if has_others:
            unless = ", if its project is none of the others,"
        register = _register("PROJECT", first, also=has_others)
        steps.append(
            f"{', '.join(removals.values())}, then{unless} {register} (or "
            f"sync{_registry_option(first)}), where PROJECT is the key's project and NAME the "
            f"variable that holds the key{_and_url(first)}"
        )
    steps += edits
    if is_learned:
        steps.append("restart the program, which keeps in memory what it learned")
    return "; and ".join(steps)


def _register(project: str, address: str | None, *, also: bool) -> str:
    flag = " --also" if also else ""
    return f"{_PROGRAM} register {project} --key-env NAME{flag}{_registry_option(address)}"


def _registry_option(address: str | None) -> str:
    """`--registry`, as a command needs it to reach a registry; nothing for the one it takes anyway.

    That is the default file alone, and only if no variable names another. A registry that
    `OPENAI_PROJECT_GUARD_REGISTRY` names is said: `run` and deployments set that for the program,
    not for the shell in which the command is typed.
    """
    if address is None:
        return ""
    if is_url(address):
        return " --registry URL"
    with suppress(OSError, ConfigurationError):  # the current directory may be gone
        files = default_registries()
        taken = next(filter(os.path.lexists, files), files[0])
        if {*map(os.path.abspath, (taken, *registry_names()))} == {os.path.abspath(address)}:
            return ""
    equals = "=" if address.startswith("-") else " "  # else it would be taken for an option
    return f" --registry{equals}{_quoted(address)}"


def _and_url(address: str | None) -> str:
    """Which URL is meant: there may be a password in it, so it is not shown whole."""
    if address is None or not is_url(address):
        return ""
    return f", and URL is {address}, with its password if it has one"


def _quoted(path: str) -> str:
    """A path as a shell takes it."""
    if os.name == "nt":
        from subprocess import list2cmdline

        return list2cmdline([path])
    from shlex import quote

    return quote(path)
