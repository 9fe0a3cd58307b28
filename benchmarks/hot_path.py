"""The rows about one call: what the guard adds to the place where it looks at a request."""

from __future__ import annotations

import asyncio
import copy
import functools
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
from openai_project_guard._hooks import httpx, sdk
from openai_project_guard._keys import digest, hint
from openai_project_guard._registry.model import Place, Project
from openai_project_guard._registry.registry import Registry
from openai_project_guard._state import STATE

CALLS = 100  # in one round: some 0.4 ms


def _empty(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


class Sends:
    """The ways of handing a request to a stub of the HTTP client.

    Attributes:
        bare: the stub's own method, and nothing around it.
        empty: wrapped by wrapt in what only passes on.
        guarded: with the guard's transport hook around it.
    """

    def __init__(self, made: Any, *, is_async: bool) -> None:
        stub = stage.AsyncStub if is_async else stage.Stub
        make = httpx._async_hook if is_async else httpx._sync_hook
        answer, original = stage.answer(made), vars(stub)[httpx.SEND_SINGLE_REQUEST]

        def standing(method: Any) -> stage.Send:
            dressed: Any = type(stub.__name__, (stub,), {httpx.SEND_SINGLE_REQUEST: method})
            send: stage.Send = dressed(answer).send
            return send

        self.bare = standing(original)
        self.empty = standing(wrapt.FunctionWrapper(original, _empty))
        self.guarded = standing(make(original, stage.http_package(made)))


def whole_twin(made: Any, *, is_guarded: bool) -> Any:
    """The same client, with the guard's hooks on the way of a call or with what they stand for.

    The guard is enabled and stays so: each change to a class costs all who use it their caches, so
    no class of the SDK changes between rounds. Both twins have a class of their own in front.
    """
    hooked = ("_build_request", "_make_status_error_from_response")
    twin = _with_methods(made, *hooked, is_guarded=is_guarded)
    twin._client = _with_methods(made._client, httpx.SEND_SINGLE_REQUEST, is_guarded=is_guarded)
    return twin


def _with_methods(thing: Any, *methods: str, is_guarded: bool) -> Any:
    hooks = {method: getattr(type(thing), method) for method in methods}
    standing = hooks if is_guarded else {name: hook.__wrapped__ for name, hook in hooks.items()}
    twin = copy.copy(thing)
    twin.__class__ = type(type(thing).__name__, (type(thing),), standing)
    return twin


@contextmanager
def enabled() -> Iterator[None]:
    """Has the guard's hooks in; what is in force inside changes from round to round."""
    opg.enable(registry=Registry())
    try:
        yield
    finally:
        opg.disable()


def settings_of(registry: Any) -> _settings.Settings:
    """What `enable("enforce", registry=...)` puts in force."""
    return _settings.build("enforce", STATE.registered, registry=registry)


def one_call(*, is_async: bool, turns: int) -> Times:
    """Bare, empty wrapper, guard enforcing, guard idle; registry as mapping and as file.

    And what marking a request adds, where the SDK makes it: `unmarked`, `marked`, `marking, idle`.
    """
    made = stage.client(is_async=is_async)
    request, sends = stage.marked_request(made), Sends(made, is_async=is_async)
    loop = asyncio.new_event_loop() if is_async else None
    with tempfile.TemporaryDirectory() as folder, enabled():
        path = Path(folder, "openai-projects.toml")
        path.write_text(stage.registry_text(2, 2), encoding="utf-8")
        by_mapping = settings_of({stage.PROJECT: stage.KEY})
        STATE.settings = by_mapping
        _must_refuse(sends.guarded, loop)
        unmarked, marked = _makers(made)
        things = {
            "bare": stage.timer(sends.bare, [request], CALLS, loop),
            "empty": stage.timer(sends.empty, [request], CALLS, loop),
            "enforce": stage.timer(sends.guarded, [request], CALLS, loop),
            "enforce, registry file": stage.timer(sends.guarded, [request], CALLS, loop),
            "idle": stage.timer(sends.guarded, [request], CALLS, loop),
            "bare, once looked up": stage.timer(_once(sends.bare), [request], CALLS, loop),
            "empty, once looked up": stage.timer(_once(sends.empty), [request], CALLS, loop),
            "unmarked": stage.timer(unmarked, [request], CALLS),
            "marked": stage.timer(marked, [request], CALLS),
            "marking, idle": stage.timer(marked, [request], CALLS),
        }
        settings = {
            "enforce": by_mapping,
            "enforce, registry file": settings_of(path),
            "marked": by_mapping,
        }
        times = in_turns(
            {name: under(settings.get(name), thing) for name, thing in things.items()}, turns
        )
    if loop is not None:
        loop.close()
    return times


def _once(send: Any) -> stage.Send:
    method: stage.Send = send.__self__._send_single_request
    return method


def _makers(made: Any) -> tuple[stage.Send, stage.Send]:
    """Making a request without the guard's hook and with it; the request is there beforehand."""

    def _build_request(self: Any, options: Any) -> Any:
        return options

    make_marked = sdk._marking_hook(_build_request)
    request = made._build_request(stage.options())
    request.extensions.clear()
    make_marked(made, request)
    if httpx.CALL not in request.extensions:
        raise AssertionError("the hook did not mark the request: nothing was measured")
    return functools.partial(_build_request, made), functools.partial(make_marked, made)


def under(settings: _settings.Settings | None, measure: Callable[[], float]) -> Callable[[], float]:
    """The measuring with these settings in force."""

    def thing() -> float:
        STATE.settings = settings
        return measure()

    return thing


def _must_refuse(send: stage.Send, loop: asyncio.AbstractEventLoop | None) -> None:
    """A guard that judged nothing would be fast."""
    wrong = stage.client(is_async=loop is not None, project="proj_of_somebody_else")
    try:
        answer = send(stage.marked_request(wrong))
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
    """Time added to the transport's method, enforcing and idle, against an empty wrapper."""
    enforcing: dict[str, float] = {}
    of_file: dict[str, float] = {}
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
            elif name == "enforce, registry file":
                of_file[f"registry file, {case}"] = ratio
            elif name == "idle":
                idle[case] = ratio
        added = statistics.median(
            times.added("empty, once looked up", "bare, once looked up") for times in runs
        )
        details.append(
            f"{case}: httpx looks the method up for each request, where wrapt makes a bound "
            f"wrapper. Looked up beforehand, the empty one adds {added * 1e6:.2f} µs"
        )
        for name, lines in (("marked", details), ("marking, idle", idle_details)):
            added = statistics.median(times.added(name, "unmarked") for times in runs)
            lines.append(f"{case}: {name}: adds {added * 1e6:.2f} µs to `_build_request`")
    return (
        Row(
            "call",
            "time added to `_send_single_request`, allowed call, registry from a mapping, against "
            "an empty wrapt wrapper",
            "x",
            5,
            enforcing,
            details,
            beside=of_file,
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
    made = stage.client(is_async=False)
    request, sends = stage.marked_request(made), Sends(made, is_async=False)
    bare, guarded = sends.bare, sends.guarded
    many = [stage.new_key() for _ in range(CALLS)]
    many_requests = [stage.marked_request(stage.client(is_async=False, key=key)) for key in many]
    same_requests = [stage.marked_request(made) for _ in range(CALLS)]
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
    with enabled():
        STATE.settings = large
        _must_refuse(guarded, None)
        times = in_turns(
            {
                name: under(settings, stage.timer(send, requests, CALLS))
                for name, (send, settings, requests) in things.items()
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
