"""The last good version in a file, for a process that starts while Redis is out of reach."""

from __future__ import annotations

import logging
import os
import re
import time
from typing import TYPE_CHECKING

from openai_project_guard._errors import RegistryError
from openai_project_guard._log import log
from openai_project_guard._registry.file.atomic import locked, replace
from openai_project_guard._registry.file.layout import written_project
from openai_project_guard._registry.file.parse import parse
from openai_project_guard._registry.file.place import FilePlace, load
from openai_project_guard._registry.model import by_project, listing
from openai_project_guard._registry.redis.state import RedisState

if TYPE_CHECKING:
    from openai_project_guard._registry.model import Snapshot

_PAUSE = 5.0  # seconds until it is tried again to write the file
_SHARE = 20  # writing takes at most one part in so many of the time

_HEAD = re.compile(rb"# The last good version of (.+), revision (\S*)\.\n")


class _CopyPlace(FilePlace):
    """The file is a copy: an entry is corrected where the copy was made."""

    __slots__ = ("_registry",)

    def __init__(self, path: str, registry: str) -> None:
        super().__init__(path)
        self.path = os.path.realpath(self.path)
        self.address = self._registry = registry

    def of(self, needle: str, project: str, *, is_listed: bool = False) -> str:
        """The registry, and that this is what the file has of it."""
        del needle, project, is_listed
        return f"{self._registry} (as saved in {self.name})"


class FallbackFile:
    """The file that `OPENAI_PROJECT_GUARD_SNAPSHOT` names.

    Its first line says of which registry it is. A file of another, or one that somebody wrote by
    hand, is neither read nor replaced.
    """

    def __init__(self, path: str, registry: str) -> None:
        self._place = _CopyPlace(path, registry)
        self.name = self._place.name
        self._registry = registry  # as its URL has it, without a password
        self._has: str | None = None  # the revision that the file has
        self._due = 0.0
        self._problem = ""

    def read(self) -> tuple[RedisState, float]:
        """The last good version, and its age in seconds. Raises a `RegistryError` without one."""
        data = load(self._place)
        state = RedisState(self._place, self._revision(data), parse(data, self._place))
        self._has = state.version
        return state, max(0.0, time.time() - os.stat(self._place.path).st_mtime)

    def keep(self, state: RedisState) -> None:
        """Writes the version if it is another; that it cannot be written is logged once.

        A large registry that often changes is not written after each change, but every so often.
        """
        started = time.monotonic()
        if self._has == state.version or started < self._due:
            return
        problem = ""
        try:
            self._write(state)
            self._has = state.version
        except (RegistryError, OSError) as error:
            problem = str(error)
        if problem and problem != self._problem:
            log(logging.ERROR, "The last good version cannot be kept: %s", problem)
        self._problem = problem
        done = time.monotonic()
        self._due = done + max(_PAUSE if problem else 0.0, _SHARE * (done - started))

    def _write(self, state: RedisState) -> None:
        path = self._place.path
        with locked(path):
            if os.path.exists(path) and self._revision(load(self._place)) == state.version:
                return  # another process has written it
            head = f"# The last good version of {self._registry}, revision {state.version}.\n"
            replace(path, (head + _written(state.snapshot)).encode(errors="surrogatepass"))

    def _revision(self, data: bytes) -> str:
        head = _HEAD.match(data)
        if head is None or head[1] != self._registry.encode():
            data = b""  # whose file this is is not known, nor what stands in it
            raise RegistryError(
                f"{self.name}: this is not the last good version of {self._registry}, so it is "
                "neither used nor replaced. Name another file in OPENAI_PROJECT_GUARD_SNAPSHOT."
            )
        return head[2].decode()


def _written(snapshot: Snapshot) -> str:
    """A snapshot in the registry file's format."""
    projects = by_project(listing(snapshot))
    return "\n".join(["version = 1\n", *(written_project(p, *projects[p]) for p in projects)])
