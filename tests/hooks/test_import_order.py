"""Does it matter when the SDK is imported, or imported again? What does our import bring?"""

from __future__ import annotations

import pytest
from support import A, output, python

pytestmark = pytest.mark.usefixtures("clean")


def test_the_import_is_light_while_the_guard_is_off() -> None:
    run = python("import openai_project_guard", "-X", "importtime", OPENAI_PROJECT_GUARD="off")
    assert run.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "openai_project_guard" in imported
    for heavy in ("openai", "wrapt", "pydantic", "httpx", "httpx2", "websockets", "asyncio"):
        assert not [name for name in imported if name == heavy or name.startswith(heavy + ".")]


def test_enabled_by_the_environment_it_imports_no_sdk_and_waits_for_it() -> None:
    said = output(
        """
import sys
import openai_project_guard as opg
assert opg.is_enabled()
assert not {"openai", "pydantic", "httpx", "httpx2", "websockets"} & set(sys.modules)
from openai import AsyncOpenAI
assert opg.is_enabled()
import asyncio, support
assert support.Probe()() == ""
assert asyncio.run(support.Probe().wait()) == ""
client = support.async_client(support.Recorder(), project="proj_a")
assert type(client) is AsyncOpenAI
try:
    asyncio.run(support.chat(client))
except opg.UnregisteredKeyError as error:
    print(error.verdict.reason)
""",
        OPENAI_PROJECT_GUARD="enforce",
    )
    assert said == "unregistered"


def test_the_sdk_may_be_imported_first() -> None:
    said = output(
        """
import openai
client = openai.OpenAI(api_key="sk-proj-not-a-real-key", project="proj_a")
import openai_project_guard as opg
try:
    client.models.list()
except opg.UnregisteredKeyError as error:
    print(error.verdict.reason)
""",
        OPENAI_PROJECT_GUARD="1",
    )
    assert said == "unregistered"


@pytest.mark.parametrize("name", ["ProjectMismatchError", "Verdict", "Registry", "guard"])
def test_a_name_of_ours_may_be_what_imports_the_sdk(name: str) -> None:
    said = output(
        f"""
from openai_project_guard import {name}
import openai_project_guard as opg
import openai
try:
    openai.OpenAI(api_key="sk-proj-not-a-real-key", project="proj_a").models.list()
except opg.UnregisteredKeyError as error:
    print(error.verdict.reason)
""",
        OPENAI_PROJECT_GUARD="enforce",
    )
    assert said == "unregistered"


def test_a_reloaded_sdk_is_not_called_checked() -> None:
    run = python(
        "import importlib, sys, openai, openai_project_guard as g\n"
        f"g.enable(registry={{'proj_a': {A!r}}})\n"
        "assert g.is_enabled()\n"
        "importlib.reload(sys.modules['openai._base_client'])\n"
        "assert not g.is_enabled()\n"
        "g.enable()\n"
        "assert g.is_enabled()\n"
    )
    assert run.returncode == 0, run.stderr
    assert "The guard's hook on BaseClient._build_request is gone" in run.stderr


def test_a_guard_that_is_enabled_anew_waits_for_an_sdk_that_is_imported_anew() -> None:
    said = output(
        f"""
import sys
import openai_project_guard as opg
for _ in range(3):
    opg.enable(registry={{"proj_a": {A!r}}})
    import support
    sent = support.Recorder()
    for project in "proj_a", "proj_b":
        try:
            support.sync_client(sent, api_key=support.A, project=project).models.list()
        except Exception:  # of some releases the SDK's own: it knows this import's errors alone
            pass
    print(opg.is_enabled(), *(each.headers["OpenAI-Project"] for each in sent.requests))
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("openai", "httpx", "httpx2", "support"):
            del sys.modules[name]
"""
    )
    assert said.splitlines() == ["True proj_a"] * 3


@pytest.mark.parametrize("name", ["websockets.legacy.client", "websockets.sync.client"])
def test_a_package_whose_import_is_blocked_is_hooked_once_it_is_not(name: str) -> None:
    pytest.importorskip(name)
    said = output(
        f"""
import sys
sys.modules[{name!r}] = None  # as one keeps a program from importing it
import openai_project_guard as opg
opg.enable(registry={{"proj_a": {A!r}}})
del sys.modules[{name!r}]
import importlib
module = importlib.import_module({name!r})
from openai_project_guard import _hooks
print(any(path.startswith({name!r}) for path in _hooks.reached()))
"""
    )
    assert said == "True"


@pytest.mark.parametrize("is_first", [True, False])
def test_a_refusal_imports_nothing_of_ours(is_first: bool) -> None:
    """A process that is forked amid an import, by another thread, would wait for it for ever."""
    said = output(
        f"""
import sys
{"import openai" if is_first else ""}
import openai_project_guard as opg
opg.enable(registry={{"proj_a": {A!r}}})
import support
client = support.sync_client(support.Recorder(), project="proj_b")
before = set(sys.modules)
try:
    client.models.list()
except opg.ProjectMismatchError:
    print(*sorted(name for name in set(sys.modules) - before if "guard" in name))
"""
    )
    assert said == ""
