"""Plays the demo's scenarios, each without the guard and with it, and measures what happened."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_project_guard import _hooks, _settings
from openai_project_guard._api import disable, enable
from openai_project_guard._check import log as _log
from openai_project_guard._scope import guard
from openai_project_guard.loopback import LoopbackAPI, loopback_api

if TYPE_CHECKING:
    # Importing the SDK reads the environment, so it must wait until that is cleared.
    from openai_project_guard._cli.scenarios import Scenario

OK = "200"

_OF_USER = re.compile(r"\A(?:OPENAI|.*_PROXY$|SSL_CERT_|SSLKEYLOGFILE)", re.IGNORECASE)
"""Variables that change what the SDK or its HTTP client does."""


@dataclass(frozen=True)
class Measured:
    """What one call came to, by the SDK's word and by the server's counters.

    Attributes:
        answer: `200`, another status and the code of the error, the name of the error raised, or
            `nothing` where no request arrived and no error came.
        billed: the project that paid, or `None`.
        project_header: the value of the header that arrived, or `None`.
        requests: how many arrived.
        connections: how many were opened.
        bytes: how many arrived.
        text: the answer's text.
    """

    answer: str
    billed: str | None
    project_header: str | None
    requests: int
    connections: int
    bytes: int
    text: str


@dataclass(frozen=True)
class Result:
    """One scenario, as it was played."""

    scenario: Scenario
    without: Measured
    guarded: Measured
    problems: tuple[str, ...]


def play() -> list[Result]:
    """Plays every scenario against a server of its own, apart from the user's settings."""
    with _apart():
        from openai_project_guard._cli import scenarios

        with loopback_api(scenarios.OWNERS) as api:
            return [_play(scenario, api) for scenario in scenarios.scenarios()]


def _play(scenario: Scenario, api: LoopbackAPI) -> Result:
    from openai_project_guard._cli.scenarios import REGISTRY

    disable()
    without = _measure(scenario.make, api)
    enable(scenario.mode, registry=REGISTRY, hosts=("127.0.0.1",))
    make = guard(project=scenario.pinned)(scenario.make) if scenario.pinned else scenario.make
    guarded = _measure(make, api)
    return Result(scenario, without, guarded, tuple(_problems(scenario, without, guarded)))


def _measure(make: Callable[[str], str], api: LoopbackAPI) -> Measured:
    import openai

    api.clear()
    text = ""
    try:
        text = make(api.base_url)
        answer = " ".join(str(line.status) for line in api.ledger) or "nothing"
    except openai.APIStatusError as error:
        answer = f"{error.status_code} {error.code}"
    except Exception as error:  # whatever it is, it is what the program would have got
        answer = type(error).__name__
    lines = api.ledger
    return Measured(
        answer=answer,
        billed=", ".join(api.billed) or None,
        project_header=lines[-1].project_header if lines else None,
        requests=len(lines),
        connections=api.connections,
        bytes=api.bytes_received,
        text=text,
    )


def _problems(scenario: Scenario, without: Measured, guarded: Measured) -> Iterator[str]:
    """What did not come out as the scenario says."""
    yield from _differences(
        "without the guard",
        without,
        {"answer": scenario.without, "billed": scenario.billed, "requests": 1},
    )
    expected: dict[str, object]
    if scenario.is_refused:
        expected = {"answer": scenario.guarded, "billed": None, "connections": 0, "bytes": 0}
    else:
        expected = {
            "answer": OK,
            "billed": scenario.billed,
            "project_header": scenario.billed,
            "requests": 1,
            "text": without.text,
        }
    yield from _differences("with the guard", guarded, expected)


def _differences(when: str, measured: Measured, expected: dict[str, object]) -> Iterator[str]:
    for name, value in expected.items():
        found = getattr(measured, name)
        if found != value:
            yield f"{when}, {name.replace('_', ' ')} should be {value!r} and was {found!r}"


@contextmanager
def _apart() -> Iterator[None]:
    """Keeps the user's variables and settings out of the demo, and the demo's calls out of the log.

    All of them are put back.
    """
    variables = {name: os.environ.pop(name) for name in list(os.environ) if _OF_USER.match(name)}
    in_force, is_silent = _settings.in_force, _log.logger.disabled
    _log.logger.disabled = True
    try:
        yield
    finally:
        _log.flush()  # now, lest the counts be logged when the process ends
        _log.logger.disabled = is_silent
        disable()
        os.environ.update(variables)
        if in_force is not None:
            with _settings.changing:
                _hooks.install(process_wide=in_force.scope == "process")
                _settings.in_force = in_force
