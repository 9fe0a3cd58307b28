"""Is a call of a subclass, or of a copy, of the SDK's client judged as it is sent?"""

from __future__ import annotations

import inspect
from typing import Any

import openai
import pytest
from support import (
    BOTH,
    KEYS,
    WRONG_HEADERS,
    Async,
    B,
    Recorder,
    chat,
    refused,
)

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("enabled")


# --- clients made from clients --------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("method", ["with_options", "copy"])
def test_a_chain_of_copies_is_judged_by_where_it_ends(
    method: str, way: Any, sent: Recorder
) -> None:
    def step(client: Any, **options: Any) -> Any:
        return getattr(client, method)(**options)

    first = way.client(sent, project="proj_a")
    swapped = step(step(first, api_key=B), max_retries=1)
    refused(way, lambda: chat(swapped), opg.ProjectMismatchError)
    headers = step(step(first, default_headers={"OpenAI-Project": "proj_b"}), timeout=3)
    refused(way, lambda: chat(headers), opg.ProjectMismatchError)
    assert sent.requests == []
    way.run(lambda: chat(step(headers, api_key=B)))
    assert (sent.keys, sent.projects) == ([B], ["proj_b"])


def subclass(way: Any, method: str, calls_super: bool, when: str, headers: dict[str, str]) -> Any:
    """A user's client that overrides a method of the SDK's and changes the headers there."""
    sdk = way.sdk
    if not hasattr(sdk, method):
        pytest.skip(f"openai {openai.__version__} has no {method}")

    def change(message: Any) -> Any:
        if method in ("_prepare_request", "_send_request"):
            message.headers.update(headers)
        else:  # options
            given = message.headers if isinstance(message.headers, dict) else {}
            message.headers = {**given, **headers}
        return message

    async def original(self: Any, *args: Any, **kwargs: Any) -> Any:
        value = getattr(super(own, self), method)(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    async def without_super(self: Any, *args: Any, **kwargs: Any) -> Any:
        if method == "_prepare_options":
            return args[0]
        if method == "_send_request":
            value = self._client.send(*args, **kwargs)
            return await value if inspect.isawaitable(value) else value
        if method == "request":  # leaves by itself
            built = self._build_request(args[1])
            value = self._client.send(built)
            return await value if inspect.isawaitable(value) else value
        return None

    async def override(self: Any, *args: Any, **kwargs: Any) -> Any:
        message = args[1] if method == "request" else args[0]
        if when == "before":
            change(message)
        value = await (original if calls_super else without_super)(self, *args, **kwargs)
        if when == "after":
            change(value or message if method == "_prepare_options" else message)
        return value

    def plain(self: Any, *args: Any, **kwargs: Any) -> Any:
        step = override(self, *args, **kwargs)  # awaits nothing in a sync client
        try:
            step.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("a sync client awaits")

    own: Any = type("Own", (sdk,), {method: override if way is Async else plain})
    return own


STEPS = pytest.mark.parametrize(
    ("method", "calls_super", "when"),
    [
        (method, calls_super, when)
        for method in ("_prepare_options", "_prepare_request", "_send_request", "request")
        for calls_super in (True, False)
        for when in ("before", "after")
        if method.startswith("_prepare") or when == "before"
    ],
)

KINDS = pytest.mark.parametrize("is_old", [False, True], ids=["later", "earlier"])
"""Whether the subclass was there before the guard was enabled."""


def own_client(way: Any, sent: Recorder, is_old: bool, *step: Any, **options: Any) -> Any:
    if is_old:
        opg.disable()
    sdk = subclass(way, *step)
    if is_old:
        opg.enable(registry=KEYS)
    return way.client(sent, sdk=sdk, **options)


# --- subclasses of the SDK's client ---------------------------------------------------------------


@BOTH
@STEPS
@KINDS
@pytest.mark.parametrize("what", ["header", "key"])
def test_a_subclass_that_makes_a_call_wrong_is_refused(
    what: str,
    is_old: bool,
    method: str,
    calls_super: bool,
    when: str,
    way: Any,
    sent: Recorder,
    request: pytest.FixtureRequest,
) -> None:
    headers, error = WRONG_HEADERS[what]
    step = (method, calls_super, when, headers)
    client = own_client(way, sent, is_old, *step, project="proj_a")
    refused(way, lambda: client.get("/models", cast_to=object), error)
    assert sent.requests == []


@BOTH
@STEPS
@KINDS
def test_a_subclass_that_corrects_a_call_passes(
    is_old: bool, method: str, calls_super: bool, when: str, way: Any, sent: Recorder
) -> None:
    step = (method, calls_super, when, {"OpenAI-Project": "proj_a"})
    client = own_client(way, sent, is_old, *step, project="proj_b")
    way.run(lambda: client.get("/models", cast_to=object))
    assert sent.projects == ["proj_a"]
