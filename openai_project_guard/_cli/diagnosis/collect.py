"""What a default `OpenAI()` of this environment would send, and the verdict on it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from openai_project_guard import _env, _settings
from openai_project_guard._cli.api_probe import Answer, ask
from openai_project_guard._cli.diagnosis.mock_call import Sent, send_default
from openai_project_guard._cli.env_files import EnvFile, read_env_file
from openai_project_guard._cli.key_input import API_KEY, bare, without_keys
from openai_project_guard._cli.registry_status import RegistryStatus, registry_statuses
from openai_project_guard._cli.temporary_guard import disabled, enabled, without_variables
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import digest, hint
from openai_project_guard._registry.model import KeyRecord, records_of
from openai_project_guard._registry.registry import Registry
from openai_project_guard._state import STATE
from openai_project_guard._types import Mode

if TYPE_CHECKING:
    from openai_project_guard._check.verdict import Verdict
    from openai_project_guard._cli.diagnosis.hooks_test import HooksReport

OVERRIDE = _env.PREFIX + "_OVERRIDE"
_DOTENV = ".env"
_OF_PROJECTS = ("sk-proj-", "sk-svcacct-")


@dataclass(frozen=True)
class KeyInfo:
    """What may be known of the key in `OPENAI_API_KEY`.

    Attributes:
        hint: what may be shown of it.
        kind: `project`, `admin`, `legacy` or `other`.
        fault: what is around it that should not be, or `None`.
        records: the projects that it is registered for, once that is taken off.
    """

    hint: str
    kind: str
    fault: str | None
    records: tuple[KeyRecord, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about this environment; the findings are made from it.

    Attributes:
        mode: the guard's, as the environment has it.
        judged_as: the mode in which the call was judged: `enforce`, or `inject`.
        registries: those that the environment names.
        settings: active in this environment, if they are in order.
        settings_error: why they are not.
        key: the key in `OPENAI_API_KEY`, if there is one.
        sent: what a default client sends.
        client_error: why it cannot send.
        verdict: on that; `None` where the call is not judged.
        refusal: the name of the error and its text, if the call would be refused.
        live: what the API said, if it was asked.
        hooks: whether they work, if that was looked into.
        known: every registry in use.
        env_file: the one that the environment is taken from, if one was given.
        dotenv: a `.env` in the current folder, if none was given.
    """

    mode: Mode = Mode.OFF
    judged_as: Mode = Mode.ENFORCE
    registries: tuple[RegistryStatus, ...] = ()
    settings: _settings.Settings | None = None
    settings_error: str | None = None
    key: KeyInfo | None = None
    sent: Sent | None = None
    client_error: str | None = None
    verdict: Verdict | None = None
    refusal: tuple[str, str] | None = None
    live: Answer | None = None
    hooks: HooksReport | None = None
    known: tuple[Registry, ...] = field(default=(), repr=False)
    env_file: EnvFile | None = None
    dotenv: EnvFile | None = None

    @property
    def unknown(self) -> dict[str, tuple[str, ...]]:
        """The variables of the env file whose value refers to others that are not there."""
        return self.env_file.unknown_of_openai if self.env_file else {}

    @property
    def records(self) -> tuple[KeyRecord, ...]:
        """The projects that the key which is sent is registered for."""
        digest_sent = self.sent.headers.key_digest if self.sent else None
        return records_of(self.known, digest_sent) if digest_sent else ()

    @property
    def project(self) -> str | None:
        """The `OpenAI-Project` header of a default client."""
        return self.sent.headers.project if self.sent else None

    @property
    def is_openai(self) -> bool:
        """Whether a default client's host counts as OpenAI's."""
        return bool(self.sent and self.settings and self.settings.is_openai(self.sent.host))

    @property
    def is_usable(self) -> bool:
        """Whether there is anything to judge: settings in order, and a client that can be made."""
        return self.settings_error is None and self.client_error is None

    @property
    def agrees(self) -> bool:
        """Whether the API, if it was asked, took the call and named an expected project."""
        if self.live is None:
            return True
        expected = self.verdict.expected if self.verdict else ()
        return self.live.is_good and (
            self.live.project is None or not expected or self.live.project in expected
        )

    @property
    def passes(self) -> bool:
        """Whether the guard lets a default client's call pass, and the API does not object."""
        verdict = self.verdict
        return verdict is not None and verdict.outcome in ("allowed", "injected") and self.agrees


def collect(
    *,
    live: bool = False,
    hooks: HooksReport | None = None,
    env_file: EnvFile | None = None,
) -> Diagnosis:
    """Makes a default client's call in this process, and asks the API if that is wanted.

    Args:
        live: ask the API.
        hooks: what the tests of the hooks have found.
        env_file: where the environment comes from.
    """
    unknown = env_file.unknown_of_openai if env_file else {}
    registries = tuple(registry_statuses())
    sent, client_error = _observe()
    mode, judged_as = Mode.OFF, Mode.ENFORCE
    settings = settings_error = verdict = refusal = None
    try:
        mode = _env.mode()
        judged_as = mode if mode is Mode.INJECT else Mode.ENFORCE
        # It beats the mode, and would leave nothing to see of the others.
        with without_variables(OVERRIDE.__eq__), enabled(judged_as) as verdicts:
            settings = STATE.settings
            if sent is not None:
                refusal = _judge()
                verdict = _shown(verdicts[-1]) if verdicts else None
    except ConfigurationError as error:
        settings_error = without_keys(str(error))
    known = settings.registries if settings else tuple(known.registry for known in registries)
    return Diagnosis(
        mode=mode,
        judged_as=judged_as,
        registries=registries,
        settings=settings,
        settings_error=settings_error,
        key=None if API_KEY in unknown else _key_info(known),
        sent=sent,
        client_error=client_error,
        verdict=verdict,
        refusal=refusal,
        live=ask() if live and client_error is None and API_KEY not in unknown else None,
        hooks=hooks,
        known=known,
        env_file=env_file,
        dotenv=None if env_file else _dotenv(),
    )


def _dotenv() -> EnvFile | None:
    if not os.path.isfile(_DOTENV):
        return None
    try:
        return read_env_file(_DOTENV, os.environ)
    except ConfigurationError:  # whoever loads it will hear of it
        return None


def _observe() -> tuple[Sent | None, str | None]:
    try:
        with disabled():
            return send_default(), None
    except Exception as error:  # whatever the SDK makes of the environment
        return None, without_keys(f"{type(error).__name__}: {error}")


def _judge() -> tuple[str, str] | None:
    from openai_project_guard._check.errors import ProjectGuardError

    try:
        send_default()
    except ProjectGuardError as error:
        return type(error).__name__, without_keys(str(error))
    return None


def _shown(verdict: Verdict) -> Verdict:
    # The call is the command's own: it was made nowhere in an application.
    actual = verdict.actual and without_keys(verdict.actual)
    return replace(verdict, actual=actual, call_site=None, client_site=None)


def _key_info(known: tuple[Registry, ...]) -> KeyInfo | None:
    key = os.environ.get(API_KEY)
    if not key:
        return None
    alone = bare(key)
    if not alone.isascii():
        return KeyInfo(hint(""), _kind(alone), "a character that no key has")
    return KeyInfo(hint(alone), _kind(alone), _fault(key), records_of(known, digest(alone)))


def _kind(key: str) -> str:
    if key.startswith("sk-admin-"):
        return "admin"
    if key.startswith(_OF_PROJECTS):
        return "project"
    return "legacy" if key.startswith("sk-") else "other"


def _fault(key: str) -> str | None:
    if key.strip() and key.strip()[0] in "\"'‘’“”":
        return "quotes around it"
    if key.endswith(("\n", "\r")):
        return "a line break at its end"
    if key.lower().startswith("bearer "):
        return "the word Bearer in front of it"
    if key != key.strip() or len(key.split()) > 1:
        return "white space around or in it"
    return None
