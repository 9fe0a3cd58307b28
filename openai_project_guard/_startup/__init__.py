"""Enables the guard by the environment alone, in a process that does not call `enable()`.

That happens at `import openai_project_guard`; or, where the interpreter's start-up has brought the
package in (`openai-project-guard run`, autowrapt, a `sitecustomize`), at the first `import openai`.
"""

from __future__ import annotations

import sys

from openai_project_guard._errors import forgetful

_is_settled = False


def settle() -> None:
    """Says that `enable()` or `disable()` was called: the environment is not to undo that."""
    global _is_settled
    _is_settled = True


def at_import() -> None:
    """What importing the package does.

    Raises:
        ConfigurationError: the environment's settings are not in order.
    """
    if _is_site_running():
        # An error now would stop every program, `pip --version` too; or `site` would report it and
        # go on, unguarded.
        from openai_project_guard._startup.sitecustomize import watch

        watch()
    else:
        start()


@forgetful  # somebody pastes a key into any of the variables
def start() -> None:
    """Enables the guard if the environment says so. Only the first call does anything.

    Raises:
        ConfigurationError: the environment's settings are not in order.
    """
    if _is_settled or _is_own_command():
        return
    from openai_project_guard._env import check_choices, mode, override
    from openai_project_guard._types import Mode

    check_choices()
    if mode() is not Mode.OFF or override() not in (None, Mode.OFF):
        from openai_project_guard._api import enable

        enable()
    settle()


def _is_site_running() -> bool:
    """Whether the interpreter is still starting: the program has not begun."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__") == "site":
            return True
    return False


def _is_own_command() -> bool:
    """Whether this process is `openai-project-guard` itself, which says what is wrong by itself."""
    import os

    command = getattr(sys, "orig_argv", [])
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    own = ("", ".exe", "-script.py", "-script.pyw")
    by_name = name.startswith("openai-project-guard") and name[20:] in own
    as_module = command[1:2] == ["-m"] and command[2:3] in (
        ["openai_project_guard"],
        ["openai_project_guard.loopback"],  # which sends nothing
    )
    return by_name or as_module
