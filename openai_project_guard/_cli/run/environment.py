"""The environment in which a program and its children find the guard."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from openai_project_guard import _env, _settings
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._log import logger
from openai_project_guard._registry.registry import Registry
from openai_project_guard._types import Mode


def guard_children(options: Mapping[str, str | None]) -> None:
    """Sets what makes every Python that is started in this environment a guarded one.

    A path is made absolute, for a child may have another working directory. An option that is
    `None` leaves its variable as it is.
    """
    os.environ.update({name: value for name, value in options.items() if value is not None})
    if _env.text(_env.PREFIX) is None:
        os.environ[_env.PREFIX] = Mode.ENFORCE
    names = [name if "://" in name else os.path.abspath(name) for name in _env.registry_names()]
    if names and not any("," in name for name in names if "://" not in name):
        os.environ[_env.REGISTRY] = ",".join(names)
    for variable in (_env.LEARNED, _env.SNAPSHOT, _env.AUDIT):
        path = _env.path(variable)
        if path is not None:
            os.environ[variable] = os.path.abspath(path)
    # The `sitecustomize` there enables the guard when a program imports `openai`.
    ours = os.path.join(os.path.dirname(os.path.abspath(_env.__file__)), "_startup")
    if os.pathsep in ours:  # Python would look for two other folders, and say nothing
        raise ConfigurationError(
            f"PYTHONPATH cannot name {ours!r}: there is a {os.pathsep!r} in it. Install "
            "openai-project-guard in another folder."
        )
    path = os.environ.get("PYTHONPATH", "")
    others = [entry for entry in path.split(os.pathsep) if entry != ours] if path else []
    os.environ["PYTHONPATH"] = os.pathsep.join([ours, *others])


@contextmanager
def naming_options(options: Mapping[str, str | None]) -> Iterator[None]:
    """Has an error name the option that was given, not the variable that it becomes."""
    try:
        yield
    except ConfigurationError as error:
        message = str(error)
        for variable, value in options.items():
            if value is not None:
                option = "--" + (variable.removeprefix(_env.PREFIX)[1:].lower() or "mode")
                named = rf"\A(The (environment )?variable )?{variable}\b"
                message = re.sub(named, option, message)
        raise ConfigurationError(message) from None


def check_settings() -> None:
    """Reads the settings as the program will, so that it need not start to find them wrong."""
    _env.check_choices()
    mode = _env.mode()
    if (_env.override() or mode) is not Mode.OFF:
        # What is only logged, such as a lost registry in warn, is logged by the program, once.
        logger.disabled = True
        _settings.build(mode, Registry())
