"""Where in the application's code a call was made, or a client was built.

Looked up only for a wrong call or a new client; an allowed call pays nothing for it. A path is
shown relative to the directory of the process, if the file is below it, and in full otherwise.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import cache, lru_cache
from types import CodeType, FrameType
from typing import Final, Literal, NamedTuple
from weakref import WeakKeyDictionary

from openai_project_guard._check.waiting import frames_that_wait, module_of, outwards
from openai_project_guard._errors import OWN_FAULTS
from openai_project_guard._keys import redact

NOT_SEEN: Final = "a place not seen (before the guard was enabled, or by copy.copy() or pickle)"
_MOST_LAST_STEPS: Final = 7  # of one client's; a loop may derive each from the last

_BETWEEN: Final = frozenset(
    {"openai", __name__.partition(".")[0], "wrapt", "anyio", "sniffio", "trio"}
    | {"httpx", "httpx2", "httpx_aiohttp", "httpcore", "httpcore2", "h11", "h2"}
    | {"websockets", "requests", "urllib3", "aiohttp"}
)
"""Between a call and the network: not worth naming, and neither is the standard library."""
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_LOOPS: Final = frozenset({"asyncio.events", "asyncio.runners", "uvloop", "trio._core._run"})
"""What runs a task: outside of it are the frames of whoever runs the loop. uvloop's has none, so
what starts it is named, too."""


class Site(NamedTuple):
    """A line of code, as a frame has it.

    Attributes:
        code: the code that was running.
        line: the number of the line.
        is_nearest: the application's line that made the call is not on the stack: a framework went
            to another thread or task. This is the nearest that is known.
    """

    code: CodeType
    line: int
    is_nearest: bool = False

    def __str__(self) -> str:
        text = redact(f"{_shown(self.code.co_filename)}:{self.line} in {self.code.co_name}")
        return f"{text} (nearest known)" if self.is_nearest else text


class Step(NamedTuple):
    """One step in which a client was built.

    Attributes:
        site: where; `None` if that was not seen.
        by: by what, if the client was not simply called: `copy` or, which is the same function,
            `with_options`; or the `__init__` of the application's own class, which lets nobody else
            name the project.
        gives: what the client has from there: the names of arguments, and of headers in lower case.
    """

    site: Site | None
    by: Literal["copy", "__init__"] | None = None
    gives: frozenset[str] = frozenset()

    @property
    def method(self) -> str:
        """What is called on that line; of the two names of the one method, the one there."""
        if self.by == "__init__":
            return self.by
        return "with_options" if self.site is None else _method_on(self.site.code, self.site.line)

    @property
    def as_call(self) -> str:
        """The same in the middle of a sentence."""
        return f"that {self.method}(), at {self.site}"

    def __str__(self) -> str:
        return f"{self.method} at {self.site}" if self.by else str(self.site or NOT_SEEN)


class ClientSite:
    """Where a client was built, and those that it was derived from."""

    __slots__ = ("_text", "steps")

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self._text = ""

    def then(self, step: Step) -> ClientSite:
        """That of a client derived from this one."""
        first, *others = (*self.steps, step)
        return ClientSite(first, *others[-_MOST_LAST_STEPS:])

    def last_with(self, *names: str) -> Step | None:
        """The step from which the client has an argument or a header, if it is not the first."""
        return next((step for step in reversed(self.steps) if step.gives & {*names}), None)

    def __str__(self) -> str:
        self._text = self._text or ", then ".join(map(str, self.steps))
        return self._text  # the audit asks for it at each call


UNKNOWN_CLIENT: Final = ClientSite(Step(None))


def call_site(start: FrameType | None = None) -> Site | None:
    """The application's line that is making a call, or building a client, just now.

    The innermost frame that is neither the SDK's, the guard's, an HTTP library's nor the standard
    library's, nor that of a package that is installed; where the task or the thread has none, that
    of whoever waits for it. Where nobody does, the innermost of a package, or else of the standard
    library: a pool may make a call before anybody asks for its result.

    Args:
        start: where to begin. Default: the caller.
    """
    start = start or sys._getframe()
    first: dict[Kind | None, FrameType] = {}
    module = ""
    has_left_task = False
    for frame in outwards(start):
        module, kind = module_of(frame), _kind_of(frame)
        if module in _LOOPS:
            has_left_task = True
        if kind == "application" and not has_left_task:
            return Site(frame.f_code, frame.f_lineno)
        first.setdefault(kind, frame)
    waiting = _site_that_waits(start)
    if waiting is not None:
        return waiting
    for kind in _NAMED:
        if kind in first:
            nearest = first[kind]
            is_nearest = has_left_task or module == "threading" or kind == "standard"
            return Site(nearest.f_code, nearest.f_lineno, is_nearest)
    return None


def _site_that_waits(start: FrameType) -> Site | None:
    called = ""
    try:
        for frame in frames_that_wait(start):
            if is_application(frame):
                # A thread may have been started on one line, and be waited for on another.
                is_nearest = called.startswith(("concurrent", "threading"))
                return Site(frame.f_code, frame.f_lineno, is_nearest)
            called = module_of(frame)
    except OWN_FAULTS:  # it looks at what asyncio keeps to itself
        pass
    return None


Kind = Literal["application", "installed", "standard"]
_NAMED: Final[tuple[Kind, ...]] = ("application", "installed", "standard")


def is_application(frame: FrameType) -> bool:
    """Whether a frame is of the application: not of the SDK, the guard, or installed code."""
    return _kind_of(frame) == "application"


def _kind_of(frame: FrameType) -> Kind | None:
    """What a frame is of; `None` between a call and the network."""
    filename = frame.f_code.co_filename
    if filename[:1] == "<":  # generated code has its module's name; a notebook's cell has none
        named = frame.f_globals.get("__file__")
        filename = named if type(named) is str else filename
    return _kind_of_file(filename, module_of(frame).partition(".")[0])


@cache
def _folders_of_python() -> tuple[str, ...]:
    """Where the standard library and scripts are. Two milliseconds, not spent by an import."""
    paths = (os.path.dirname(os.__file__), sysconfig.get_path("scripts"))
    return tuple(os.path.normcase(os.path.join(path, "")) for path in paths)


@lru_cache(10_000)
def _kind_of_file(filename: str, top: str) -> Kind | None:
    if top in _BETWEEN:
        return None
    path = os.path.normcase(filename)
    if any(folder in path for folder in _INSTALLED):
        return "installed"
    # In a frozen program every file has a relative name.
    is_frozen = top in sys.stdlib_module_names and not os.path.isabs(filename)
    is_standard = is_frozen or path.startswith(_folders_of_python())
    return "standard" if is_standard else "application"


@cache
def folder_of_paths() -> str:
    """The directory that paths are relative to: the current one when the first of them was shown.

    It stays so after a `chdir()`, or one line would have two names. Empty, if it was removed.
    """
    try:
        return os.getcwd()
    except OSError:
        return ""


def _shown(filename: str) -> str:
    """A path as a reader finds the file; a notebook's cell as its own tracebacks call it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    name_of = getattr(getattr(shell, "compile", None), "format_code_name", None)
    cell = None if name_of is None else name_of(filename)  # IPython 8.7 on
    if cell is not None:
        return " ".join(cell)  # ("Cell", "In[3]"), of a file in a temporary folder
    here = os.path.join(folder_of_paths(), "")
    is_below = here != os.path.abspath(os.sep) and filename.startswith(here)
    return filename[len(here) :] if is_below else filename


_methods: WeakKeyDictionary[CodeType, dict[int, str]] = WeakKeyDictionary()
"""Of code that derives clients, by line: a client may be derived for each call, and the audit asks
for it each time."""


def _method_on(code: CodeType, line: int) -> str:
    known = _methods.setdefault(code, {})
    if line not in known:
        known[line] = _look_up_method(code, line)
    return known[line]


def _look_up_method(code: CodeType, line: int) -> str:
    import dis

    offsets = {
        offset
        for begin, end, number in code.co_lines()
        if number == line
        for offset in range(begin, end)
    }
    names = {each.argval for each in dis.get_instructions(code) if each.offset in offsets}
    return "copy" if "copy" in names and "with_options" not in names else "with_options"
