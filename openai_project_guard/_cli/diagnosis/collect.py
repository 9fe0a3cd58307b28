"""What a default `OpenAI()` of this environment would send, the verdict on it, what is in use."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from openai_project_guard import _env, _settings
from openai_project_guard._cli import GOOD, NOT_IN_ORDER, PROGRAM, UNUSABLE
from openai_project_guard._cli.api_probe import Answer, ask
from openai_project_guard._cli.diagnosis.calls import HooksReport, Sent, send_default
from openai_project_guard._cli.env_files import EnvFile, read_env_file
from openai_project_guard._cli.key_input import API_KEY, without_keys
from openai_project_guard._cli.registry_status import RegistryStatus, registry_statuses
from openai_project_guard._cli.temporary_guard import disabled, enabled, without_variables
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import digest, without_known_keys, without_random
from openai_project_guard._registry.model import Project, is_registered, records_of
from openai_project_guard._state import STATE
from openai_project_guard._types import Mode
from openai_project_guard._versions import version_of

if TYPE_CHECKING:
    from openai_project_guard._check.verdict import Verdict

CUSTOM = "OPENAI_CUSTOM_HEADERS"
_DOTENV = ".env"
_PACKAGES = (PROGRAM, "openai", "wrapt", "httpx", "httpx2", "websockets", "tomlkit")


class Finding(NamedTuple):
    """Something that is wrong, or only worth knowing."""

    name: str  # for programs; one of `FINDINGS`
    message: str
    fix: str
    is_wrong: bool = True


note = partial(Finding, is_wrong=False)
"""A finding that is only worth knowing."""


@dataclass
class Diagnosis:
    """What was found out about this environment."""

    env_file: EnvFile | None  # that the environment is taken from
    hooks: HooksReport | None  # if they were looked at
    registries: list[RegistryStatus] = field(default_factory=list)
    mode: Mode = Mode.OFF  # the guard's, as the environment has it
    override: Mode | None = None  # what beats it
    off_by: str | None = None  # the variable that somebody has set to off, if that counts
    judged_as: Mode = Mode.ENFORCE  # or inject
    settings: _settings.Settings | None = None  # if they are in order
    settings_error: str | None = None
    sent: Sent = field(default_factory=Sent)  # by a default client
    client_error: str | None = None  # why it sends nothing
    verdict: Verdict | None = None  # on what is sent, if the guard looks at it
    refusal: tuple[str, str] | None = None  # the name of the error and its text
    live: Answer | None = None  # of the API, if it was asked
    dotenv: EnvFile | None = None  # a .env in the current folder, where no file was named
    findings: list[Finding] = field(default_factory=list)  # what is wrong first

    @property
    def error(self) -> str | None:
        """Why there is nothing to judge: settings in error, or no client that could be made."""
        return self.settings_error or self.client_error

    @property
    def in_order(self) -> bool:
        """Whether nothing is wrong; what is not known is not wrong."""
        if self.error or any(finding.is_wrong for finding in self.findings):
            return False
        passes = self.verdict is not None and self.verdict.outcome in ("allowed", "injected")
        return passes or bool(self.unknown)

    @property
    def passes(self) -> bool | None:
        """Whether a default client's call passes; `None` where that is not known."""
        return None if self.in_order and self.unknown else self.in_order

    @property
    def status(self) -> int:
        """The exit status that says so."""
        return UNUSABLE if self.error else GOOD if self.in_order else NOT_IN_ORDER

    @property
    def unknown(self) -> dict[str, tuple[str, ...]]:
        """The variables of the env file whose value refers to others that are not there."""
        return self.env_file.unknown_of_openai if self.env_file else {}

    @property
    def projects(self) -> tuple[Project, ...]:
        """Those that the key which is sent is registered for."""
        return self.projects_of(self.sent.key_digest or b"")

    @property
    def is_openai(self) -> bool:
        """Whether a default client's host counts as OpenAI's."""
        return self.settings is not None and self.settings.is_openai(self.sent.host)

    @property
    def agrees(self) -> bool:
        """Whether the API, if it was asked, took the call and named a project of the key's."""
        if self.live is None:
            return True
        named, known = self.live.project, [project.id for project in self.projects]
        return self.live.is_good and (not known or named is None or named in known)

    def projects_of(self, key_digest: bytes) -> tuple[Project, ...]:
        """The projects that a key is registered for, each once: registries may say the same."""
        found: dict[str, Project] = {}
        for record in records_of((each.registry for each in self.registries), key_digest):
            found.setdefault(record.project.id, record.project)
        return tuple(found.values())

    def without_keys(self, text: str) -> str:
        """A text as it may be shown: without a key of the environment or of a registry."""
        registries = [each.registry for each in self.registries]
        return without_keys(without_known_keys(text, partial(is_registered, registries)))

    def find_project(self, name: str) -> Project | None:
        """The project of a registry with this id, or this alias in whatever case."""
        for each in self.registries:
            for known, project in each.registry.snapshot.projects.items():
                if name == known or (known == project.alias and name.lower() == known.lower()):
                    return project
        return None


def collect(*, live: bool, hooks: HooksReport | None, env_file: EnvFile | None) -> Diagnosis:
    """Makes a default client's call in this process, and asks the API if that is wanted."""
    at = Diagnosis(env_file, hooks)
    if env_file is None and os.path.isfile(_DOTENV):
        with suppress(ConfigurationError):  # whoever loads it will hear of it
            at.dotenv = read_env_file(_DOTENV, os.environ)
    try:
        with disabled():
            at.sent = send_default()
    except Exception as error:  # whatever the SDK makes of the environment
        at.client_error = without_keys(f"{type(error).__name__}: {error}")
    is_sent = at.client_error is None
    if live and is_sent and not at.unknown:  # or a key may go where it is not meant to
        at.live = ask()
    with suppress(ConfigurationError):  # a variable's, which is said below
        at.registries = registry_statuses()
    try:
        at.mode, at.override = _env.mode(), _env.override()
        _env.check_choices()
        if (at.override or _env.given_mode()) is Mode.OFF:
            at.off_by = _env.OVERRIDE if at.override else _env.PREFIX
        at.judged_as = at.mode if at.mode is Mode.INJECT else Mode.ENFORCE
        # It beats the mode, and would leave nothing to see of the others.
        with without_variables(_env.OVERRIDE), enabled(at.judged_as) as verdicts:
            at.settings = STATE.settings
            at.refusal = _judge()
            for verdict in verdicts:
                # The call is the command's own: it was made nowhere in an application.
                actual = verdict.actual and without_keys(verdict.actual)
                at.verdict = replace(verdict, actual=actual, call_site=None, client_site=None)
    except ConfigurationError as error:
        at.settings_error = without_keys(str(error))
    # The SDK fails to make a request of a project that is not ASCII, and the guard says why.
    named = os.environ.get("OPENAI_PROJECT_ID", "")
    if not is_sent and at.verdict:
        at.client_error = None
        key_digest, project = digest(os.environ.get(API_KEY, "")), at.verdict.actual
        at.sent = Sent(key_digest, at.verdict.key_hint, project, host=at.verdict.host)
        at.sent.origins = {"Authorization": API_KEY, "OpenAI-Project": str(at.verdict.origin)}
    if not is_sent and not named.isascii():
        at.sent.project, at.sent.origins["OpenAI-Project"] = named, "OPENAI_PROJECT_ID"
    return at


def _judge() -> tuple[str, str] | None:
    from openai_project_guard._check.errors import ProjectGuardError
    from openai_project_guard._check.explain import sites

    try:
        send_default()
    except ProjectGuardError as error:
        of_ours = sites(error.verdict)
        lines = [line for line in str(error).splitlines() if line not in of_ours]
        return type(error).__name__, without_keys("\n".join(lines))
    except Exception:  # it has been said why
        return None
    return None


def settings_of(at: Diagnosis) -> Iterator[tuple[str, str, str | None]]:
    """Each setting's name, its value and the variable that it comes from; `None` for the default.

    What the registries are is not shown here, but what is in them.
    """
    in_use = {_env.PREFIX: str(at.mode)}
    if at.settings is not None:
        policy = at.settings.policy
        in_use[_env.POLICY_UNREGISTERED] = policy.unregistered
        in_use[_env.PROJECT] = policy.pinned or "not pinned"
        in_use[_env.HOSTS] = ", ".join(sorted(at.settings.hosts))
        in_use[_env.SCOPE] = at.settings.scope
    for variable in (known.name for known in _env.VARIABLES):
        if variable in (_env.REGISTRY, _env.KEYS):
            continue
        name = variable.removeprefix(_env.PREFIX)[1:].lower() or "mode"
        text, value = _env.text(variable), in_use.get(variable)
        if text and (value is None or at.settings is None):
            value = without_random(at.without_keys(text))
        default = "in memory only" if variable == _env.LEARNED else "not set"
        yield name, value or default, variable if text else None


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that matter; `None` where one is not installed."""
    return {"python": platform.python_version(), **{name: version_of(name) for name in _PACKAGES}}
