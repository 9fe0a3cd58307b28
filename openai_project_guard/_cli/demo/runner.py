"""Runs the scenarios of the demo without the guard and with it, and measures what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_project_guard._cli.demo import OK
from openai_project_guard._cli.temporary_guard import disabled, silent, without_variables
from openai_project_guard.loopback import LoopbackAPI, loopback_api

if TYPE_CHECKING:
    # Importing the SDK reads the environment, so it must wait until that is cleared.
    from openai_project_guard._cli.demo.scenarios import Scenario


_CHANGE_THE_SDK = "(?i:OPENAI.*|.*_PROXY|SSL_CERT_.*|SSLKEYLOGFILE)"
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
    """One scenario, as it was run."""

    scenario: Scenario
    without: Measured
    guarded: Measured
    problems: tuple[str, ...]


def run_scenarios() -> list[Result]:
    """Runs every scenario against a server of its own, apart from the user's settings."""
    with without_variables(_CHANGE_THE_SDK), disabled(), silent():
        from openai_project_guard._cli.demo import scenarios

        with loopback_api(scenarios.OWNERS) as api:
            return [_run(scenario, api) for scenario in scenarios.scenarios()]


def _run(scenario: Scenario, api: LoopbackAPI) -> Result:
    from openai_project_guard._api import disable, enable
    from openai_project_guard._cli.demo.scenarios import REGISTRY
    from openai_project_guard._guard import guard

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
    """What differs from what the scenario expects."""
    expected: dict[str, object]
    if scenario.is_refused:
        expected = {"answer": scenario.guarded, "billed": None, "connections": 0, "bytes": 0}
    else:
        payer = scenario.billed
        expected = {"answer": OK, "billed": payer, "project_header": payer, "requests": 1}
        expected["text"] = without.text
    unguarded = {"answer": scenario.without, "billed": scenario.billed, "requests": 1}
    for when, measured, wanted in (("without", without, unguarded), ("with", guarded, expected)):
        for name, value in wanted.items():
            found = getattr(measured, name)
            if found != value:
                what = name.replace("_", " ")
                yield f"{when} the guard, {what} should be {value!r} and was {found!r}"
