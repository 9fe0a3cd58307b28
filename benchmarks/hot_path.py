"""The rows about one call: what the guard adds to the place where it looks at a request."""

from __future__ import annotations

import asyncio
import copy
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import stage
import wrapt
from rounds import Times, in_turns
from rows import Row

import openai_project_guard as opg
from openai_project_guard import _settings
from openai_project_guard._keys import digest, hint
from openai_project_guard._registry.model import Place, Project
from openai_project_guard._registry.registry import Registry
from openai_project_guard._state import STATE

CALLS = 100  # in one round: some 0.4 ms


def _empty(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


def dressed(made: Any, wrapper: Any, method: str = "_send_request") -> Any:
    """A client like this one with a method wrapped where the guard would hook it.

    The SDK's classes are left alone, for each change to a class costs all its users their caches:
    the wrapper stands on a class of its own, just before the SDK's own in the order of look-up.
    """
    owner: Any = stage.base_of(made, method)
    original = vars(owner)[method]
    standing = original if wrapper is None else wrapt.FunctionWrapper(original, wrapper)
    shim = type("Shim", (owner,), {method: standing})
    twin = copy.copy(made)
    bases = (shim,) if type(made) is owner else (type(made), shim)
    twin.__class__ = type(type(made).__name__, bases, {})
    return twin


def guards_wrapper(made: Any, method: str = "_send_request") -> Any:
    """The wrapper that the guard puts around a method."""
    opg.enable(registry=Registry())
    wrapper = vars(stage.base_of(made, method))[method]._self_wrapper
    opg.disable()
    return wrapper


def dressed_whole(made: Any, *, is_guarded: bool) -> Any:
    """The same with all that the guard hooks on the road of a call."""
    twin = made
    for method in ("request", "_send_request"):
        twin = dressed(twin, guards_wrapper(made, method) if is_guarded else None, method)
    method = "_send_single_request"
    wrapper = guards_wrapper(made._client, method) if is_guarded else None
    twin._client = dressed(made._client, wrapper, method)
    return twin


@contextmanager
def settings_restored() -> Iterator[None]:
    """Puts the settings back that were in force."""
    try:
        yield
    finally:
        STATE.settings = None


def settings_of(registry: Any) -> _settings.Settings:
    """What `enable("enforce", registry=...)` puts in force."""
    opg.enable(registry=registry)
    settings = STATE.settings
    opg.disable()
    assert settings is not None
    return settings


def one_call(*, is_async: bool, turns: int) -> Times:
    """Bare, empty wrapper, guard enforcing, guard idle; registry as mapping and as file."""
    made, request = stage.stubbed_client(is_async=is_async)
    loop = asyncio.new_event_loop() if is_async else None
    guarded = dressed(made, guards_wrapper(made))
    with tempfile.TemporaryDirectory() as folder, settings_restored():
        path = Path(folder, "openai-projects.toml")
        path.write_text(stage.registry_text(2, 2), encoding="utf-8")
        by_mapping = settings_of({stage.PROJECT: stage.KEY})
        things = {
            "bare": (dressed(made, None), None),
            "empty": (dressed(made, _empty), None),
            "enforce": (guarded, by_mapping),
            "enforce, registry file": (guarded, settings_of(path)),
            "idle": (guarded, None),
        }
        STATE.settings = by_mapping
        _must_refuse(guarded, loop)
        times = in_turns(
            {
                name: under(settings, stage.timer(client, [request], CALLS, loop))
                for name, (client, settings) in things.items()
            },
            turns,
        )
    if loop is not None:
        loop.close()
    return times


def under(settings: _settings.Settings | None, measure: Callable[[], float]) -> Callable[[], float]:
    """The measuring with these settings in force."""

    def thing() -> float:
        STATE.settings = settings
        return measure()

    return thing


def _must_refuse(made: Any, loop: asyncio.AbstractEventLoop | None) -> None:
    """A guard that judged nothing would be fast."""
    wrong = stage.client(is_async=loop is not None, project="proj_of_somebody_else")
    request = stage.finished_request(wrong)
    try:
        answer = made._send_request(request, stream=False)
        if loop is not None:
            loop.run_until_complete(answer)
    except opg.ProjectMismatchError:
        return
    raise AssertionError("the guard is not in force: nothing was measured")


def in_processes(*, is_async: bool, turns: int, processes: int) -> list[Times]:
    """The same in several processes: where things come to lie in memory differs between them."""
    command = [sys.executable, __file__, "async" if is_async else "sync", str(turns)]
    found = []
    for _ in range(processes):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(Times(json.loads(done.stdout)))
    return found


def call_and_idle(turns: int, processes: int) -> tuple[Row, Row]:
    """Time added to `_send_request`, enforcing and idle, against an empty wrapper."""
    enforcing: dict[str, float] = {}
    idle: dict[str, float] = {}
    details: list[str] = []
    idle_details: list[str] = []
    for case, is_async in (("sync", False), ("async", True)):
        runs = in_processes(is_async=is_async, turns=turns, processes=processes)
        details += [f"{case}, µs a call: {name}: {runs[0].shown(name)}" for name in runs[0].rounds]
        for name in ("empty", "enforce", "enforce, registry file", "idle"):
            ratios = [times.added(name) / times.added("empty") for times in runs]
            medians = [times.added_median(name) / times.added_median("empty") for times in runs]
            added = statistics.median(times.added(name) for times in runs) * 1e6
            ratio = statistics.median(ratios)
            line = (
                f"{case}: {name} adds {added:.2f} µs, {ratio:.2f} times the empty wrapper "
                f"({min(ratios):.2f} to {max(ratios):.2f} in {processes} processes; "
                f"by medians {statistics.median(medians):.2f})"
            )
            (idle_details if name == "idle" else details).append(line)
            if name == "enforce":
                enforcing[case] = ratio
            elif name == "idle":
                idle[case] = ratio
    return (
        Row(
            "call",
            "time added to `client._send_request`, allowed call, against an empty wrapt wrapper",
            "x",
            5,
            enforcing,
            details,
        ),
        Row(
            "idle",
            "hooks installed but nothing in force, against the empty wrapper",
            "x",
            1.5,
            idle,
            idle_details,
        ),
    )


def big_registry(turns: int, keys: int = 1_000_000) -> Row:
    """A registry of a million keys against one of a single key, per call."""
    made, request = stage.stubbed_client(is_async=False)
    many = [stage.new_key() for _ in range(CALLS)]
    many_requests = [stage.finished_request(stage.client(is_async=False, key=key)) for key in many]
    same_requests = [stage.finished_request(stage.client(is_async=False)) for _ in range(CALLS)]
    bare, guarded = dressed(made, None), dressed(made, guards_wrapper(made))
    small = settings_of({stage.PROJECT: stage.KEY})
    big = Registry()
    project = Project(stage.PROJECT, Place("the benchmark"))
    known = [stage.KEY, *many]
    step = keys // len(known)  # spread over the whole, not in one corner of memory
    for number in range(keys):
        key = known[number // step] if number % step == 0 and number // step < len(known) else ""
        key = key or f"sk-proj-{number}"
        big.add(digest(key), project, hint(key), None)
    large = settings_of(big)
    things = {
        "bare": (bare, None, [request]),
        "1 key": (guarded, small, [request]),
        "1,000,000 keys": (guarded, large, [request]),
        "bare, 100 requests": (bare, None, same_requests),
        "1 key, 100 requests": (guarded, small, same_requests),
        "100 of 1,000,000 keys": (guarded, large, many_requests),
    }
    with settings_restored():
        times = in_turns(
            {
                name: under(settings, stage.timer(client, requests, CALLS, None))
                for name, (client, settings, requests) in things.items()
            },
            turns,
        )
    whole = times.floor("1,000,000 keys") / times.floor("1 key")
    added = times.added("1,000,000 keys") / times.added("1 key")
    bare_100 = "bare, 100 requests"
    spread_whole = times.floor("100 of 1,000,000 keys") / times.floor("1 key, 100 requests")
    spread_added = times.added("100 of 1,000,000 keys", bare_100) / times.added(
        "1 key, 100 requests", bare_100
    )
    return Row(
        "big-registry",
        f"a registry of {keys:,} keys against one of 1 key, per call",
        "x",
        1.1,
        {"same key": added, "100 keys in turn": spread_whole},
        [
            *(f"µs a call: {name}: {times.shown(name)}" for name in times.rounds),
            f"same key: the guard's own time {added:.3f}, the whole call {whole:.3f}",
            f"100 keys in turn: the guard's own time {spread_added:.3f}, "
            f"the whole call {spread_whole:.3f}; what differs is the processor's cache",
        ],
    )


if __name__ == "__main__":
    print(json.dumps(one_call(is_async=sys.argv[1] == "async", turns=int(sys.argv[2])).rounds))
