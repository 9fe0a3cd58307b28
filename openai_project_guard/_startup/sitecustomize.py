"""Enables the guard when the program imports `openai`, and not before.

`openai-project-guard run` puts this folder first on PYTHONPATH, so that every Python of the
program and of its children runs this file when it starts: before `openai` is imported, and before
the `sitecustomize` of the program or of another tool, which it runs afterwards.

Those Pythons may be old ones, or may lack the package. So nothing of the package is imported here,
the syntax is one that Python 3.6 understands, and what goes wrong shows at `import openai`.
"""

import os
import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Any

PROCESS_WIDE = ("httpx", "httpx2", "requests", "urllib3", "aiohttp", "websockets")
"""What else makes calls that are judged under `OPENAI_PROJECT_GUARD_SCOPE=process`."""

SCOPE = "OPENAI_PROJECT_GUARD_SCOPE"


class Finder:
    """Stands before the other finders, and hands their answer on with a loader that enables."""

    is_enabled = False

    def __init__(self) -> None:
        self._asking = set()  # type: set[tuple[int, str]]

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "ModuleSpec | None":
        """The package as the next finder finds it. To find it enables nothing: many only ask."""
        asking = (get_ident(), name)
        if self.is_enabled or asking in self._asking or not _is_awaited(name):
            return None
        finders = sys.meta_path
        if self in finders:  # else within what a tool has put in its place
            finders = finders[finders.index(self) + 1 :]
        self._asking.add(asking)  # a finder that is asked may ask this one
        try:
            new = (each for each in finders if hasattr(each, "find_spec"))
            found = (finder.find_spec(name, path, target) for finder in new)
            spec = next((spec for spec in found if spec is not None), None)  # type: Any
        finally:
            self._asking.discard(asking)
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(self, name, spec.loader)
        return spec  # type: ignore[no-any-return]

    def enable(self) -> None:
        """Enables the guard. An error of it fails the import, this time and each time."""
        enable()
        self.is_enabled = True


class Loader:
    """A package's own loader, until the package is imported."""

    def __init__(self, finder: Finder, name: str, loader: "Any") -> None:
        self._finder = finder
        self._name = name
        self._loader = loader

    def __getattr__(self, name: str) -> "Any":
        if name == "_loader":  # a copy, which has no attributes yet
            raise AttributeError(name)
        return getattr(self._loader, name)

    def create_module(self, spec: "ModuleSpec") -> "Any":
        """Enables the guard, then makes the module as its own loader does."""
        self._finder.enable()
        return self._loader.create_module(spec)

    def exec_module(self, module: "Any") -> None:
        """Has its own loader run the module's code, and the guard know when that has run."""
        if not self._finder.is_enabled:  # a tool's loader has made the module by itself
            self._enable_before_the_import()
        spec = getattr(module, "__spec__", None)
        for holder, name in ((module, "__loader__"), (spec, "loader")):
            if getattr(holder, name, None) is self:
                setattr(holder, name, self._loader)
        from openai_project_guard import _startup

        _startup.telling(self._name, self._loader).exec_module(module)

    def _enable_before_the_import(self) -> None:
        """Enables the guard as if the import had not begun, which has brought a module already."""
        module = sys.modules.pop(self._name, None)
        try:
            self._finder.enable()
        finally:
            if module is not None:
                sys.modules[self._name] = module


def _is_awaited(name: str) -> bool:
    if name == "openai":
        return True
    # The variable is looked at only then: this is asked for every module.
    return name in PROCESS_WIDE and "process" in os.environ.get(SCOPE, "").lower()


def enable() -> None:
    """Has the package enable the guard as the environment says.

    Raises:
        RuntimeError: this Python lacks the package. No `ImportError`: a program that can do
            without `openai` would ignore that.
    """
    try:
        from openai_project_guard import _startup
    except ImportError as error:
        raise RuntimeError(
            f"openai-project-guard cannot be imported by {sys.executable} ({error}). Nothing could "
            "check the calls of this program, so openai is not imported either. Install "
            "openai-project-guard in that environment too."
        ) from None
    _startup.start()


def watch() -> Finder:
    """Awaits the import of `openai`. Where that has been imported already, enables at once."""
    finder = Finder()
    sys.meta_path.insert(0, finder)
    if "openai" in sys.modules:
        finder.enable()
    return finder


def _run_next(folder: str) -> None:
    """Runs the `sitecustomize` that Python would have run without this one, if there is one."""
    # Where importlib has these from: to import importlib itself would import what a program that
    # starts without us has not, such as warnings.
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import PathFinder

    start = sys.path.index(folder) + 1 if folder in sys.path else 0
    spec = PathFinder.find_spec("sitecustomize", sys.path[start:])
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    sys.path_importer_cache.pop(folder, None)
    if spec is not None and spec.loader is not None:
        module = sys.modules["sitecustomize"] = module_from_spec(spec)
        spec.loader.exec_module(module)


def _put_first(folder: str) -> None:
    """Brings the folder back to the front of PYTHONPATH, for the children of this process."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder in entries[1:]:
        others = [entry for entry in entries if entry != folder]
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *others])


def _stay_first(folder: str) -> None:
    """Has `opentelemetry-instrument` leave the folder first for the program that it becomes.

    It puts its own folder first, whose `sitecustomize` runs no other one (as of
    opentelemetry-instrumentation 0.66).
    """
    execv = os.execv

    def execv_after(*arguments: "Any") -> "Any":
        _put_first(folder)
        execv(*arguments)

    os.execv = execv_after


def _main(folder: str) -> None:
    try:
        watch()
    except Exception as error:
        # Python would report it and go on: with an openai that is imported, and unguarded.
        raise SystemExit(f"openai-project-guard: error: {error}") from None
    command = getattr(sys, "argv", None) or [""]  # not there yet before Python 3.8
    if os.path.basename(command[0]).startswith("opentelemetry-instrument"):
        _stay_first(folder)
    try:
        _run_next(folder)
    finally:
        _put_first(folder)  # OpenTelemetry's sitecustomize brings its folder to the front again


if __name__ == "sitecustomize":
    _main(os.path.dirname(os.path.abspath(__file__)))
