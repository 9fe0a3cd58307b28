"""Do the hooks get along with other tools' wrappers on the same methods?"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import wrapt
from openai._base_client import BaseClient
from support import (
    KEYS,
    Probe,
    http,
)

import openai_project_guard as opg
from openai_project_guard._hooks import patch

pytestmark = pytest.mark.usefixtures("enabled")


HOOKED: dict[str, Any] = {"_build_request": BaseClient, "_send_single_request": http.Client}
"""The methods that are hooked for every call, and the class of each."""


class Tool:
    """Another tool that wraps a method, and puts back what it found.

    What it finds is what `Class.method` gives, or else what is in the class.
    """

    def __init__(self, owner: Any, name: str, way: str) -> None:
        self.owner, self.name = owner, name
        way, _, from_class = way.partition(" of ")
        self.found = vars(owner)[name] if from_class else getattr(owner, name)
        self.calls = 0
        self.wrapper = WAYS[way](self, self.found)
        setattr(owner, name, self.wrapper)

    def count(self) -> None:
        self.calls += 1

    def remove(self) -> None:
        setattr(self.owner, self.name, self.found)


def _by_wrapt(tool: Tool, found: Any) -> Any:
    def wrapper(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        tool.count()
        return wrapped(*args, **kwargs)

    return wrapt.FunctionWrapper(found, wrapper)


def _by_functools(tool: Tool, found: Any) -> Any:
    @functools.wraps(found)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tool.count()
        return found(*args, **kwargs)

    return wrapper


def _by_closure(tool: Tool, found: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tool.count()
        return found(*args, **kwargs)

    return wrapper


def _by_a_closure_that_knows_itself(tool: Tool, found: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        assert wrapper is not found
        tool.count()
        return found(*args, **kwargs)

    return wrapper


def _counted(tool: Tool, function: Any, *args: Any, **kwargs: Any) -> Any:
    tool.count()
    return function(*args, **kwargs)


def _by_an_argument(tool: Tool, found: Any) -> Any:
    held = functools.partial(_counted, tool, found)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return held(*args, **kwargs)

    return wrapper


def _by_partial(tool: Tool, found: Any) -> Any:
    held = functools.partial(found)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tool.count()
        return held(*args, **kwargs)

    return wrapper


class _Descriptor:
    def __init__(self, tool: Tool, found: Any) -> None:
        self.tool, self.found = tool, found

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        bound = self.found.__get__(instance, owner)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.tool.count()
            return bound(*args, **kwargs)

        return wrapper


WAYS: dict[str, Callable[[Tool, Any], Any]] = {
    "wrapt": _by_wrapt,
    "functools.wraps": _by_functools,
    "closure": _by_closure,
    "closure that knows itself": _by_a_closure_that_knows_itself,
    "argument": _by_an_argument,
    "partial": _by_partial,
    "descriptor": _Descriptor,
}
"""Each takes what `Class.method` gives; with ` of __dict__`, what is in the class."""


@pytest.fixture
def place() -> Iterator[Callable[[str, str], Tool]]:
    """Wraps places, and puts back what was there before the guard."""
    opg.disable()
    originals = [(owner, name, vars(owner)[name]) for name, owner in HOOKED.items()]
    yield lambda name, way: Tool(HOOKED[name], name, way)
    for owner, name, original in originals:
        setattr(owner, name, original)


def enable() -> None:
    opg.enable(registry=KEYS)


NAMES = pytest.mark.parametrize("name", HOOKED)

EACH_WAY = pytest.mark.parametrize(
    "way", [f"{way}{of}" for of in ("", " of __dict__") for way in WAYS]
)


@NAMES
@EACH_WAY
def test_a_wrapper_put_on_after_ours_survives_disable(
    name: str,
    way: str,
    place: Callable[[str, str], Tool],
    probe: Probe,
    caplog: pytest.LogCaptureFixture,
) -> None:
    enable()
    assert probe() == "ab"
    tool = place(name, way)
    assert probe() == "ab"
    assert tool.calls == 3
    opg.disable()
    assert vars(HOOKED[name])[name] is tool.wrapper
    assert probe() == "ab?"
    assert tool.calls == 6
    assert not opg.is_enabled()
    tool.remove()
    assert probe() == "ab?"


@NAMES
@pytest.mark.parametrize("second", ["wrapt", "closure"])
@pytest.mark.parametrize("first", ["wrapt", "functools.wraps", "descriptor"])
def test_below_two_tools_the_hook_is_still_seen(
    name: str, first: str, second: str, place: Callable[[str, str], Tool], probe: Probe
) -> None:
    enable()
    tools = [place(name, first), place(name, second)]
    assert opg.is_enabled()
    enable()
    assert vars(HOOKED[name])[name] is tools[-1].wrapper
    assert probe() == "ab"
    assert [tool.calls for tool in tools] == [3, 3]
    for tool in reversed(tools):
        tool.remove()


@NAMES
@EACH_WAY
def test_enabling_again_under_a_foreign_wrapper_wraps_nothing_twice(
    name: str,
    way: str,
    place: Callable[[str, str], Tool],
    probe: Probe,
    verdicts: list[opg.Verdict],
) -> None:
    original = vars(HOOKED[name])[name]
    enable()
    probe()
    tool = place(name, way)
    assert opg.is_enabled()
    for _ in range(2):
        opg.disable()
        enable()
    assert opg.is_enabled()
    assert vars(HOOKED[name])[name] is tool.wrapper
    verdicts.clear()
    assert probe() == "ab"
    assert tool.calls == 3
    assert len(verdicts) == 3
    tool.remove()
    opg.disable()
    assert vars(HOOKED[name])[name] is original


@NAMES
@EACH_WAY
def test_a_wrapper_put_on_before_ours_is_left_as_it_was(
    name: str,
    way: str,
    place: Callable[[str, str], Tool],
    probe: Probe,
    verdicts: list[opg.Verdict],
) -> None:
    tool = place(name, way)
    enable()
    assert opg.is_enabled()
    assert probe() == "ab"
    assert len(verdicts) == 3
    # A refused call does not come further than the transport hook.
    assert tool.calls == (2 if name == "_send_single_request" else 3)
    opg.disable()
    assert vars(HOOKED[name])[name] is tool.wrapper
    assert probe() == "ab?"


@NAMES
def test_a_tools_removal_that_drops_our_hook_is_noticed_and_enable_repairs_it(
    name: str,
    place: Callable[[str, str], Tool],
    probe: Probe,
    verdicts: list[opg.Verdict],
    caplog: pytest.LogCaptureFixture,
) -> None:
    tool = place(name, "functools.wraps")
    enable()
    assert probe() == "ab"
    assert opg.is_enabled()
    tool.remove()  # it puts back what it found, over ours
    assert not opg.is_enabled()
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO][
        -1
    ] == (
        f"The guard's hook on {HOOKED[name].__name__}.{name} is gone: another package took it off, "
        "or imported that past the guard. Call enable() again."
    )
    verdicts.clear()
    assert probe() == "ab"  # the hook that is left still holds
    assert len(verdicts) == 3
    enable()
    assert opg.is_enabled()
    verdicts.clear()
    assert probe() == "ab"
    assert len(verdicts) == 3


@NAMES
def test_a_wrapper_of_wrapt_under_ours_is_told_the_instance_and_the_bare_arguments(
    name: str, place: Callable[[str, str], Tool], probe: Probe
) -> None:
    seen: list[tuple[Any, int]] = []

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append((type(instance), len(args)))
        return wrapped(*args, **kwargs)

    owner = HOOKED[name]
    tool = place(name, "wrapt")  # which puts back what it found
    setattr(owner, name, wrapt.FunctionWrapper(tool.found, wrapper))
    enable()
    assert probe() == "ab"
    assert {len_ for _, len_ in seen} == {1}
    assert all(issubclass(kind, owner) for kind, _ in seen)
    opg.disable()
    tool.remove()


def test_a_method_that_names_a_hook_as_what_it_wraps_is_hooked_itself() -> None:
    """It may send without it."""
    seen: list[str] = []

    def make(original: Any) -> Any:
        def hooked(self: Any) -> Any:
            seen.append(original.__qualname__)
            return original(self)

        return hooked

    class Base:
        def send(self) -> str:
            return "base"

    patch.hook(Base, "send", make)

    class Own:
        @functools.wraps(Base.send)
        def send(self) -> str:
            return "own"

    own = vars(Own)["send"]
    patch.hook(Own, "send", make)
    assert (Own().send(), len(seen)) == ("own", 1)
    patch.hook(Own, "send", make)
    assert (Own().send(), len(seen)) == ("own", 2)
    patch.unhook_all()
    assert vars(Own)["send"] is own
    assert (Base().send(), len(seen)) == ("base", 2)
