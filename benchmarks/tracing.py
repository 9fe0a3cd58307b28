"""What the guard adds to a call, beside what the tracing integrations for OpenAI add to it.

`python benchmarks/tracing.py` measures each integration that is installed, in a process of its own,
on the same mocked `chat.completions.create`; those that are not installed are named and skipped.
They do not all get along with each other in one environment: `--python PATH`, as often as needed,
names further interpreters to look for them in. Only `openai`, `wrapt` and the one package need to
be there.

Each integration is set up as cheap as it gets: spans are made, sampled and ended, and thrown away
instead of being sent. In each process the call is measured bare first, then with the integration.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import stage
from rounds import Times
from rows import Row

CALLS = 20


def _provider(seen: list[Any]) -> Any:
    """An OpenTelemetry provider whose spans go nowhere."""
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    class Nowhere(SpanProcessor):
        def on_end(self, span: Any) -> None:
            if not seen:
                seen.append(span.name)

    provider = TracerProvider()
    provider.add_span_processor(Nowhere())
    return provider


def _openinference(seen: list[Any]) -> None:
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=_provider(seen))


def _openllmetry(seen: list[Any]) -> None:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=_provider(seen))


def _logfire(seen: list[Any]) -> None:
    import logfire
    from opentelemetry.sdk.trace import SpanProcessor

    class Nowhere(SpanProcessor):
        def on_end(self, span: Any) -> None:
            if not seen:
                seen.append(span.name)

    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[Nowhere()])
    logfire.instrument_openai()


def _sentry(seen: list[Any]) -> None:
    from sentry_sdk.integrations.openai import OpenAIIntegration

    _sentry_without(seen, OpenAIIntegration())


def _sentry_without(seen: list[Any], *integrations: Any) -> None:
    """Sentry itself: its transactions cost something too, which is not the integration's doing."""
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Nowhere(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            if not seen:
                event = envelope.get_transaction_event() or {}
                seen.extend(event.get("spans") or ())
                seen.extend(item for item in envelope.items if item.type == "span")

    sentry_sdk.init(
        dsn="https://key@localhost/1",
        transport=Nowhere,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=integrations,
    )


def _transaction() -> AbstractContextManager[Any]:
    """Sentry makes spans only inside one, and sends them when it ends."""
    import sentry_sdk

    transaction: AbstractContextManager[Any] = sentry_sdk.start_transaction(name="benchmark")
    return transaction


def _ddtrace(seen: list[Any]) -> None:
    os.environ.update(DD_INSTRUMENTATION_TELEMETRY_ENABLED="false", DD_TRACE_STARTUP_LOGS="false")
    from ddtrace.trace import TraceFilter, tracer

    class Nowhere(TraceFilter):
        def process_trace(self, trace: Any) -> None:
            if not seen:
                seen.append(trace[0].name)

    tracer.configure(trace_processors=[Nowhere()])
    from ddtrace import patch

    patch(openai=True)


def _guard(seen: list[Any]) -> None:
    import openai_project_guard as opg

    opg.enable(registry={stage.PROJECT: stage.KEY})
    seen.append("guard")


@dataclass(frozen=True)
class Integration:
    """A tracing integration.

    Attributes:
        name: as its makers write it.
        package: what is installed.
        switch_on: sets it up; it notes in the list that a span came out.
        prepare: what has to be there before, and is not counted.
        around: what has to be around calls, with it and without.
    """

    name: str
    package: str
    switch_on: Callable[[list[Any]], None]
    prepare: Callable[[list[Any]], None] = lambda _: None
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


INTEGRATIONS = (
    Integration("OpenInference", "openinference-instrumentation-openai", _openinference),
    Integration("ddtrace", "ddtrace", _ddtrace),
    Integration("Sentry", "sentry-sdk", _sentry, _sentry_without, _transaction),
    Integration("Logfire", "logfire", _logfire),
    Integration("OpenLLMetry", "opentelemetry-instrumentation-openai", _openllmetry),
)
GUARD = Integration("openai-project-guard", "openai", _guard)


def measure(integration: Integration, turns: int) -> dict[str, Any]:
    """In a process of its own: the call bare, then with the integration."""
    try:
        version = distribution(integration.package).version
    except PackageNotFoundError:
        return {"missing": True}
    import openai

    made = stage.mocked_client(is_async=False)
    integration.prepare([])
    bare = _rounds(made, turns, integration.around)
    seen: list[Any] = []
    integration.switch_on(seen)
    with_it = _rounds(made, turns, integration.around)
    return {
        "version": version,
        "openai": openai.__version__,
        "supports": _supported(integration.package),
        "is_seen": bool(seen),
        "bare": bare,
        "with": with_it,
    }


def _rounds(
    made: Any, turns: int, around: Callable[[], AbstractContextManager[Any]]
) -> list[float]:
    found = []
    for _ in range(turns + turns // 4):
        start = time.perf_counter()
        with around():
            for _ in range(CALLS):
                made.chat.completions.create(**stage.QUESTION)
        found.append((time.perf_counter() - start) / CALLS)
    return found[turns // 4 :]  # without those that warmed it up


def _supported(package: str) -> str:
    """The releases of openai that the package itself says it is for."""
    for line in distribution(package).requires or ():
        found = re.match(r"openai(?![\w-])(?:\[[^]]*\])?\s*\(?([^;)]*)", line)
        if found:
            return found[1].strip() or "any"
    return "not said"


def compare(pythons: list[str], repeats: int, turns: int) -> dict[str, dict[str, Any]]:
    """Each integration's figures, from the first interpreter that has it."""
    found: dict[str, dict[str, Any]] = {}
    for number in range(repeats):
        for integration in (GUARD, *INTEGRATIONS):
            for python in pythons:
                if number and found[integration.name].get("python", python) != python:
                    continue
                report = _in_process(python, integration.name, turns)
                if "missing" in report:
                    found.setdefault(integration.name, report)
                    continue
                report["python"] = python
                before = found.get(integration.name, {})
                for rounds in ("bare", "with"):
                    report[rounds] = before.get(rounds, []) + report[rounds]
                found[integration.name] = report
                break
    for report in found.values():
        if "bare" in report:
            times = Times({"bare": report["bare"], "with": report["with"]})
            report["times"] = times
            report["added"] = times.added("with")
    return found


def _in_process(python: str, name: str, turns: int) -> dict[str, Any]:
    command = [python, __file__, "--child", name, "--turns", str(turns)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        print(f"{name}: could not be measured with {python}: {last}", file=sys.stderr)
        return {"missing": True}
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def row(repeats: int, turns: int, pythons: list[str] | None = None) -> Row:
    """The cheapest integration's addition to a call against what the guard adds."""
    what = (
        "what the cheapest tracing integration adds to a mocked `chat.completions.create`, against "
        "what the guard's hooks add to it"
    )
    found = compare(pythons or _pythons(), repeats, turns // 10)
    added = {
        name: report["added"]
        for name, report in found.items()
        if report.get("is_seen") and name != GUARD.name
    }
    if not added:
        names = ", ".join(integration.name for integration in INTEGRATIONS)
        reason = f"none is installed of {names}"
        return Row("tracing", what, "x", 40, {}, at_least=True, skipped=reason)
    import hot_path

    times = hot_path.one_call(is_async=False, turns=turns)
    guard = times.added("enforce") + times.added("marked", "unmarked")
    cheapest = min(added, key=added.__getitem__)
    measured = {cheapest: added[cheapest] / guard}
    return Row("tracing", what, "x", 40, measured, report_lines(found), at_least=True)


def _pythons() -> list[str]:
    more = os.environ.get("BENCHMARK_PYTHONS", "")
    return [sys.executable, *(path for path in more.split(os.pathsep) if path)]


def report_lines(found: dict[str, dict[str, Any]]) -> list[str]:
    """One line an integration."""
    lines = []
    for name, report in found.items():
        if "added" not in report:
            lines.append(f"{name}: not installed, skipped")
            continue
        line = f"{name}"
        if name != GUARD.name:
            line += f" {report['version']}"
        line += f" with openai {report['openai']}"
        if name != GUARD.name:
            line += f" (says it supports: {report['supports']})"
        if report["is_seen"]:
            line += f": adds {report['added'] * 1e6:.1f} µs to a call"
        else:
            line += ": made no span, so it does not work with this openai; not counted"
        lines += [line, f"  bare {report['times'].shown('bare')}"]
        lines.append(f"  with {report['times'].shown('with')}")
    return lines


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", action="append", metavar="PATH", help="look here too")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        known = {integration.name: integration for integration in (GUARD, *INTEGRATIONS)}
        print(json.dumps(measure(known[arguments.child], arguments.turns)))
        return 0
    pythons = [*_pythons(), *(arguments.python or ())]
    found = compare(pythons, 1 if arguments.quick else 3, 30 if arguments.quick else 200)
    print("\n".join(report_lines(found)))
    seen = {name: report["added"] for name, report in found.items() if report.get("is_seen")}
    guard = seen.pop(GUARD.name)
    if seen:
        cheapest = min(seen, key=seen.__getitem__)
        print(
            f"The whole call: the guard adds {guard / seen[cheapest]:.3f} of what the cheapest, "
            f"{cheapest}, adds. What the target speaks of is the hooks alone: "
            "python benchmarks/run.py --only tracing"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
