"""Is a mistake in a setting explained, and does it leave the guard as it was?"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai._base_client import AsyncAPIClient, SyncAPIClient
from support import (
    KEYS,
    A,
    B,
    Probe,
    fingerprint,
    frames_holding,
)

import openai_project_guard as opg
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("clean")


NOT_A_KEY = "This key cannot be registered: "

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown mode": (
        {"mode": "enforced"},
        "mode='enforced' is not a mode. Accepted: enforce, inject, warn, off.",
    ),
    "empty mode": ({"mode": ""}, "mode='' is not a mode. Accepted: enforce, inject, warn, off."),
    "unknown on_error": (
        {"on_error": "ignore"},
        "on_error='ignore' is not understood. Accepted: raise, log.",
    ),
    "audit of another type": ({"audit": 5}, "audit=5 is not the path of a folder."),
    "empty audit": ({"audit": ""}, "audit='' is not the path of a folder."),
    "audit named by a URL": (
        {"audit": "redis://svc:not-a-real-password@h/0"},
        "audit= is 'redis://…@h/0', a URL. Expected the path of a folder.",
    ),
    "audit named by the path of a URL": (
        {"audit": Path("redis://svc:not-a-real-password@h/0")},
        "audit= is 'redis:/…@h/0', a URL. Expected the path of a folder.",
    ),
    "audit named after a key": (
        {"audit": Path("seen", A)},
        f"audit= is {str(Path('seen', 'sk-proj-…AAAA'))!r}, with a key in it.",
    ),
    "unknown unregistered": (
        {"unregistered": "maybe"},
        "unregistered='maybe' is not understood. Accepted: block, warn, allow, learn.",
    ),
    "unregistered of another type": (
        {"unregistered": True},
        "unregistered=True is not understood. Accepted: block, warn, allow, learn.",
    ),
    "unknown scope": (
        {"scope": "everything"},
        "scope='everything' is not understood. Accepted: sdk, process.",
    ),
    "id that is none": (
        {"registry": {"support-bot": A}},
        "'support-bot' is not a project id. A project id is proj_ and letters, digits, _ or -, as "
        "the project's settings page shows it; it is not the project's name.",
    ),
    "id with a space": ({"registry": {"proj_a ": A}}, "'proj_a ' is not a project id."),
    "key for an id": ({"registry": {A: "proj_a"}}, "'sk-proj-…AAAA' is not a project id."),
    "id of another type": ({"registry": {5: A}}, "5 is not a project id."),
    "empty key": ({"registry": {"proj_a": ""}}, f"registry['proj_a']: {NOT_A_KEY}the key is empty"),
    "empty key in a list": (
        {"registry": {"proj_a": [A, " "]}},
        f"registry['proj_a']: {NOT_A_KEY}the key is empty",
    ),
    "key with a line break": (
        {"registry": {"proj_a": A + "\n"}},
        f"registry['proj_a']: {NOT_A_KEY}the key has white space around it",
    ),
    "quoted key": (
        {"registry": {"proj_a": f'"{A}"'}},
        f"registry['proj_a']: {NOT_A_KEY}the key has quotes around it",
    ),
    "admin key": (
        {"registry": {"proj_a": "sk-admin-" + A}},
        f"registry['proj_a']: {NOT_A_KEY}an admin key belongs to the organization",
    ),
    "fingerprint for a key": (
        {"registry": {"proj_a": fingerprint(A)}},
        f"registry['proj_a']: {NOT_A_KEY}this is a fingerprint, not a key",
    ),
    "key of another type": (
        {"registry": {"proj_a": [A.encode()]}},
        "registry['proj_a']: A key must be a string, not bytes.",
    ),
    "no key at all": ({"registry": {"proj_a": None}}, "registry['proj_a']"),
    "number of keys": ({"registry": {"proj_a": 1}}, "registry['proj_a']"),
    "unknown alias": (
        {"project": "support-bot"},
        "project= 'support-bot' is neither a project id (proj_ and letters, digits, _ or -) nor a "
        "known alias. No registry has an alias.",
    ),
    "empty project": ({"project": ""}, "project= '' is neither a project id"),
    "project of another type": ({"project": 5}, "project= 5 is neither a project id"),
    "hosts as one string": (
        {"hosts": "gateway.example.com"},
        "hosts='gateway.example.com' is one string. Expected a list of host names.",
    ),
    "host with scheme": (
        {"hosts": ["https://gateway.example.com"]},
        "hosts= has 'https://gateway.example.com', which is not a host name. Expected a name "
        "alone, such as gateway.example.com, without scheme, port or path.",
    ),
    "host with port": ({"hosts": ["gateway.example.com:8080"]}, "hosts= has"),
    "empty host": ({"hosts": [" "]}, "hosts= has"),
    "host of another type": ({"hosts": [5]}, "hosts= has 5"),
    "hosts of another type": ({"hosts": 5}, "hosts=5 is"),
    "registry of another type": (
        {"registry": 5},
        "registry= is a value of type int. Accepted: a path or a URL, a list of these, a Registry, "
        "or a mapping {project id: key or list of keys}.",
    ),
    "registry as a list of something else": (
        {"registry": ["some.toml", KEYS]},
        "registry= has a value of type dict. Accepted:",
    ),
    "registry as an empty string": (
        {"registry": ""},
        "registry= is an empty string. Accepted: a path or a URL",
    ),
    "registry with an empty string": (
        {"registry": ["some.toml", ""]},
        "registry= has an empty string. Accepted:",
    ),
    "registry as a list of keys": ({"registry": [A]}, "sk-proj-…AAAA: there is no such file"),
    "registry file that is not there": (
        {"registry": "no-such.toml"},
        "no-such.toml: there is no such file.",
    ),
    "off and a registry": (
        {"mode": "off", "registry": KEYS},
        "mode='off' contradicts registry=. Leave them out.",
    ),
    "off and several": (
        {"mode": opg.Mode.OFF, "project": "proj_a", "hosts": ["x.example.com"]},
        "mode='off' contradicts project=, hosts=. Leave them out.",
    ),
    "project that the registry has not": (
        {"registry": {"proj_a": A}, "project": "proj_b"},
        "project='proj_b' contradicts registry=: that registry has no such project, so every call "
        "would be refused.",
    ),
}


def places() -> dict[Any, dict[str, object]]:
    """What is on the SDK's classes."""
    bases = (SyncAPIClient, AsyncAPIClient, openai.OpenAI, openai.AsyncOpenAI)
    return {owner: dict(vars(owner)) for owner in bases}


EACH_MISTAKE = pytest.mark.parametrize("mistake", list(MISTAKES))


@EACH_MISTAKE
def test_a_mistake_is_explained_and_enables_nothing(mistake: str, probe: Probe) -> None:
    arguments, text = MISTAKES[mistake]
    before = places()
    with pytest.raises(opg.ConfigurationError) as refused:
        opg.enable(**arguments)
    assert str(refused.value).startswith(text)
    assert A not in str(refused.value)
    assert frames_holding(refused.value, A) == []
    assert places() == before
    assert not opg.is_enabled()
    assert probe() == "ab?"


@EACH_MISTAKE
def test_a_mistake_leaves_an_enabled_guard_as_it_was(mistake: str, probe: Probe) -> None:
    opg.enable(registry=KEYS, project="proj_b")
    before, settings = places(), STATE.settings
    with pytest.raises(opg.ConfigurationError):
        opg.enable(**MISTAKES[mistake][0])
    assert places() == before
    assert STATE.settings is settings
    assert opg.is_enabled()
    assert probe() == "b"


def test_a_mapping_in_the_mapping_is_refused() -> None:
    with pytest.raises(opg.ConfigurationError, match="is a mapping"):
        opg.enable(registry={"proj_a": {"k": A}})  # type: ignore[dict-item]


REGISTRY = {"proj_b": B}
WRONG_PLACES: dict[str, Callable[[Any], object]] = {
    "enable(KEY)": lambda key: opg.enable(key),
    "enable(project=)": lambda key: opg.enable(registry=REGISTRY, project=key),
    "enable(registry=)": lambda key: opg.enable(registry=key),
    "enable(registry=[])": lambda key: opg.enable(registry=[key]),
    "enable(registry={})": lambda key: opg.enable(registry={key: "proj_a"}),
    "enable(unregistered=)": lambda key: opg.enable(registry=REGISTRY, unregistered=key),
    "enable(hosts=)": lambda key: opg.enable(registry=REGISTRY, hosts=key),
    "enable(hosts=[])": lambda key: opg.enable(registry=REGISTRY, hosts=[key]),
    "enable(scope=)": lambda key: opg.enable(registry=REGISTRY, scope=key),
    "enable(on_error=)": lambda key: opg.enable(registry=REGISTRY, on_error=key),
    "enable(audit=)": lambda key: opg.enable(registry=REGISTRY, audit=key),
    "enable(another=)": lambda key: opg.enable(another=key),  # type: ignore[call-arg]
    "register(KEY)": lambda key: opg.register(key),  # type: ignore[call-arg]
    "register(project, KEY)": lambda key: opg.register("proj_a", key),
    "register(KEY, KEY)": lambda key: opg.register(key, key),
    "register([KEY])": lambda key: opg.register([key], "proj_a"),  # type: ignore[arg-type]
    "register(note=)": lambda key: opg.register(key, "proj_a", note=key),
    "register(organization=)": lambda key: opg.register(key, "proj_a", organization=key),
    "guard(KEY)": lambda key: opg.guard(key),
    "guard(mode=)": lambda key: opg.guard(mode=key),
    "guard(project=)": lambda key: opg.guard(project=key)(places)(),
    "guard(project=[])": lambda key: opg.guard(project=[key]),  # type: ignore[call-overload]
    "guard()(KEY)": lambda key: opg.guard()(key),
    "add_observer(KEY)": lambda key: opg.add_observer(key),
    "add_observer(fn, KEY)": lambda key: opg.add_observer(print, key),  # type: ignore[call-arg]
    "remove_observer(fn, KEY)": lambda key: opg.remove_observer(print, key),  # type: ignore[call-arg]
    "Registry(KEY)": lambda key: opg.Registry(key),  # type: ignore[call-arg]
    "Registry.from_file(KEY)": lambda key: opg.Registry.from_file(key),
    "Registry.lookup([KEY])": lambda key: opg.Registry().lookup([key]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("place", WRONG_PLACES)
def test_a_key_in_the_wrong_place_is_in_no_message_and_no_frame_of_ours(
    place: str, clean: pytest.MonkeyPatch
) -> None:
    """Error trackers show the locals of every frame that an error passed."""
    clean.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_b={fingerprint(B)}")
    with pytest.raises((opg.ConfigurationError, TypeError)) as refused:
        WRONG_PLACES[place](A)
    assert A not in str(refused.value)
    shown = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    assert (shown.__cause__, refused.value.__context__) == (None, None)
    ours = os.path.dirname(opg.__file__)
    for frame in shown.stack:
        if frame.filename.startswith(ours):
            assert not any(A in text for text in (frame.locals or {}).values()), frame
    assert not list(Path.cwd().iterdir())
