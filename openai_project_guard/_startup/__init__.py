"""Enables the guard by the environment alone, in a process that does not call `enable()`.

That happens at `import openai_project_guard`; or, where the interpreter's start-up has brought the
package in (`openai-project-guard run`, autowrapt, a `sitecustomize`), at the first `import openai`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from openai_project_guard._errors import hide_frames
from openai_project_guard._startup import decided

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from openai_project_guard._startup.sitecustomize import Finder


def at_import() -> None:
    """What importing the package does.

    Raises:
        ConfigurationError: a setting of the environment is not understood.
    """
    # While `site` runs, an error would stop every program, `pip --version` too; or `site` would
    # report it and go on, unguarded.
    if _is_site_running():
        _watch()
        return
    start(is_last="openai" in sys.modules)
    if not (decided.is_decided() or _is_own_command()):
        # Nothing is decided yet: load_dotenv() may still come, before `openai` is imported.
        sys.meta_path.insert(0, _Waiting())


class _Waiting:
    """Looks at each import for that of `openai`: all that a guard costs that is not enabled."""

    _is_over = False  # it may stay in `sys.meta_path`, within what a tool has put in its place

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Leaves an import of `openai` to the finder that enables the guard, others to the rest."""
        if name != "openai" or self._is_over or decided.is_decided():
            return None
        finder = _watch()
        self._is_over = True
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        return finder.find_spec(name, path, target)


def telling(name: str, loader: Any) -> Any:
    """A package's loader, so that the hooks are told of the import, where there are any."""
    if "openai_project_guard._hooks" not in sys.modules:
        return loader
    from openai_project_guard import _hooks  # another thread may be just importing them

    return _hooks.WATCH.telling(name, loader)


def _watch() -> Finder:
    from openai_project_guard._startup.sitecustomize import watch

    return watch()


@hide_frames  # somebody pastes a key into any of the variables
def start(*, is_last: bool = True) -> None:
    """Enables the guard if the environment says so. Once that is decided, it stands.

    Args:
        is_last: whether an environment that sets nothing is taken for one that sets `off`.

    Raises:
        ConfigurationError: a setting of the environment is not understood.
    """
    if decided.is_decided() or _is_own_command():
        return
    from openai_project_guard._env import check_choices, given_mode, override
    from openai_project_guard._types import Mode

    check_choices()
    mode = given_mode()
    if mode not in (None, Mode.OFF) or override() not in (None, Mode.OFF):
        from openai_project_guard._api import enable

        enable()
    elif is_last and mode is None and override() is None:
        _warn_if_taken_out()
    if is_last or mode is not None:
        decided.mark_decided()


def _warn_if_taken_out() -> None:
    """Says that `run` reached this process, and that the variable it had set is gone.

    So it is where a program hands its children an environment of picked variables.
    """
    import os

    folder = os.path.dirname(os.path.abspath(__file__))
    if folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        import logging
        from contextlib import suppress

        with suppress(Exception):  # a log handler that raises must not stop the start
            logging.getLogger("openai_project_guard").warning(
                "Started under `openai-project-guard run`, but OPENAI_PROJECT_GUARD was taken out "
                "of this process's environment: calls are not checked, unless the program calls "
                "enable(). Pass the variables that begin with OPENAI_PROJECT_GUARD on to it."
            )


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
