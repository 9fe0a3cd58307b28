"""What a type checker sees of the public API. It is checked by mypy and pyright, and never run.

A line that must be an error carries an ignore, which both understand; that each ignore has
something to ignore is checked as well.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
# mypy: warn-unused-ignores

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Literal

import openai
from typing_extensions import assert_type

import openai_project_guard as opg
from openai_project_guard import Mode, Registry, Verdict, enable, guard

# --- a decorated function keeps its signature ---------------------------------------------------


@guard
def bare(question: str, *, times: int = 1) -> list[str]:
    return [question] * times


@guard()
def called(question: str) -> str:
    return question


@guard(project="support-bot", mode="warn")
def with_arguments(question: str) -> str:
    return question


assert_type(bare("why", times=2), list[str])
assert_type(called("why"), str)
assert_type(with_arguments("why"), str)
bare(1)  # type: ignore[arg-type]
bare("why", often=2)  # type: ignore[call-arg]
called()  # type: ignore[call-arg]
with_arguments(None)  # type: ignore[arg-type]


@guard(project="proj_a")
async def coroutine(question: str) -> int:
    return len(question)


@guard
def generator(start: int) -> Generator[int, str, bytes]:
    yield start
    return b""


@guard
def iterator(start: int) -> Iterator[int]:
    yield start


@guard(mode=Mode.INJECT)
async def async_generator(start: int) -> AsyncIterator[int]:
    yield start


async def use() -> None:
    assert_type(await coroutine("why"), int)
    assert_type(generator(1), Generator[int, str, bytes])
    assert_type(iterator(1), Iterator[int])
    assert_type(async_generator(1), AsyncIterator[int])
    async for number in async_generator(1):
        assert_type(number, int)
    await coroutine(1)  # type: ignore[arg-type]
    iterator("1")  # type: ignore[arg-type]
    async_generator()  # type: ignore[call-arg]


class Bot:
    @guard
    def method(self, question: str) -> str:
        return question

    @guard(project="proj_a")
    async def async_method(self, question: str) -> str:
        return question

    @guard
    @classmethod
    def above_class(cls, question: str) -> int:
        return len(question)

    @classmethod
    @guard(project="proj_a")
    def below_class(cls, question: str) -> int:
        return len(question)

    @guard(project="proj_a")
    @staticmethod
    def above_static(question: str) -> bytes:
        return question.encode()

    @staticmethod
    @guard
    def below_static(question: str) -> bytes:
        return question.encode()


async def use_methods(bot: Bot) -> None:
    assert_type(bot.method("why"), str)
    assert_type(await bot.async_method("why"), str)
    assert_type(Bot.above_class("why"), int)
    assert_type(bot.below_class("why"), int)
    assert_type(Bot.above_static("why"), bytes)
    assert_type(bot.below_static("why"), bytes)
    bot.method(1)  # type: ignore[arg-type]
    await bot.async_method()  # type: ignore[call-arg]
    Bot.above_class(1)  # type: ignore[arg-type]
    Bot.below_class(1)  # type: ignore[arg-type]
    Bot.above_static(1)  # type: ignore[arg-type]
    Bot.below_static(1)  # type: ignore[arg-type]


hook: Callable[[str], str] = guard(project="proj_a")(lambda question: question)

# --- a scope ------------------------------------------------------------------------------------


async def scopes() -> None:
    with guard():
        pass
    with guard(project="proj_a"):
        pass
    async with guard(mode="off"):
        pass
    shared = guard(project="proj_a", mode=None)
    with shared, shared:
        pass


def a_scope_swallows_no_error() -> int:
    with guard():
        return 1


guard(project=5)  # type: ignore[call-overload]
guard(mode="enforced")  # type: ignore[call-overload]
guard(projekt="proj_a")  # type: ignore[call-overload]
guard("support-bot")  # type: ignore[call-overload]
guard()("support-bot")  # type: ignore[type-var]

# --- switching it on and off --------------------------------------------------------------------

enable()
enable("enforce")
enable("inject")
enable("warn")
enable("off")
enable(None, unregistered=None, hosts=None, scope=None, on_error=None, audit=None)
enable("warn", on_error="log", audit=Path("audit"))
enable(on_error="raise", audit="audit")
enable(on_error="ignore")  # type: ignore[arg-type]
enable(audit=5)  # type: ignore[arg-type]
enable(Mode.WARN, project="proj_a", unregistered="learn", hosts=["x.example.com"], scope="process")
enable(registry="openai-projects.toml")
enable(registry=Path("openai-projects.toml"))
enable(registry=["openai-projects.toml", "redis://localhost", Path("more.toml")])
enable(registry=Registry())
enable(registry={"proj_a": "sk-proj-…", "proj_b": ["sk-proj-…", "sk-proj-…"]})
enable(registry=None)
enable("enforced")  # type: ignore[arg-type]
enable("enforce", "x.toml")  # type: ignore[call-arg]
enable(unregistered="maybe")  # type: ignore[arg-type]
enable(scope="all")  # type: ignore[arg-type]
enable(hosts=5)  # type: ignore[arg-type]
enable(registry=5)  # type: ignore[arg-type]
enable(registry={"proj_a": 5})  # type: ignore[dict-item]
assert_type(opg.is_enabled(), bool)
opg.disable()
opg.register("sk-proj-…", "proj_a", organization="org-one", note="CI")
opg.register("sk-proj-…")  # type: ignore[call-arg]
opg.register(b"sk-proj-", "proj_a")  # type: ignore[arg-type]
opg.enabel()  # type: ignore[attr-defined]

# --- modes, verdicts, observers, errors ---------------------------------------------------------

assert_type(Mode("warn"), Mode)
text: str = Mode.WARN


def observer(verdict: Verdict) -> None:
    assert_type(verdict.outcome, Literal["allowed", "injected", "warned", "blocked"])
    assert_type(
        verdict.reason,
        Literal[
            "missing", "mismatch", "malformed", "unregistered", "scope", "organization", "drift"
        ]
        | None,
    )
    assert_type(verdict.expected, tuple[str, ...])
    assert_type(verdict.actual, str | None)
    assert_type(verdict.key_hint, str)
    assert_type(verdict.method, str)
    assert_type(verdict.host, str)
    assert_type(verdict.path, str)
    assert_type(verdict.transport, Literal["http", "websocket"])
    if verdict.outcome == "refused":  # type: ignore[comparison-overlap]
        pass
    verdict.actual = "proj_a"  # type: ignore[misc]
    print(verdict.key)  # type: ignore[attr-defined]


def wrong_observer(verdict: str) -> None: ...


seen: list[Verdict] = []
opg.add_observer(observer)
opg.add_observer(seen.append)
opg.add_observer(lambda verdict: verdict.path)
opg.remove_observer(observer)
opg.add_observer(wrong_observer)  # type: ignore[arg-type]
opg.add_observer("print")  # type: ignore[arg-type]

try:
    pass
except (opg.ProjectMismatchError, opg.UnregisteredKeyError) as error:
    assert_type(error.verdict, Verdict)
    as_the_sdks: openai.OpenAIError = error
except opg.ProjectGuardError as error:
    assert_type(error.verdict, Verdict)
except (opg.RegistryError, opg.UnsupportedSDKError) as error:
    configuration: opg.ConfigurationError = error
    value_error: ValueError = error

# --- the registry -------------------------------------------------------------------------------

registry = Registry.from_file(Path("openai-projects.toml"))
assert_type(registry, Registry)
assert_type(len(registry), int)
for entry in registry:
    assert_type(entry, opg.Entry)
    assert_type(entry.alias, str | None)
assert_type(registry.lookup("sk-proj-…"), tuple[opg.Entry, ...])
anything: Any = registry
