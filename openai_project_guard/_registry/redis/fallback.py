"""The last good snapshot in a file, for a process that starts while Redis is out of reach."""

from __future__ import annotations

import logging
import os
import re
import time
from typing import TYPE_CHECKING

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.file.atomic import locked, replace
from openai_project_guard._registry.file.layout import written_project
from openai_project_guard._registry.file.parse import parse
from openai_project_guard._registry.file.place import FilePlace, load
from openai_project_guard._registry.model import KeyBinding, listing
from openai_project_guard._registry.redis.codec import Content

if TYPE_CHECKING:
    from openai_project_guard._registry.model import Snapshot

_logger = logging.getLogger("openai_project_guard")
_PAUSE = 5.0  # seconds until it is tried again to write the file
_SHARE = 20  # writing takes at most one part in so many of the time

_HEAD = re.compile(rb"# The last good snapshot of (\S+), revision (\S+)\.\n")


class Spare:
    """The file that `OPENAI_PROJECT_GUARD_SNAPSHOT` names.

    Its first line says of which registry it is. A file of another, or one that somebody wrote by
    hand, is neither read nor replaced.

    Args:
        path: the file.
        name: the registry, as its address has it.
    """

    def __init__(self, path: str, name: str) -> None:
        self._place = FilePlace(path)
        self._place.path = os.path.realpath(self._place.path)
        self._name = name
        self._has: str | None = None  # the revision that the file has
        self._due = 0.0
        self._fault = ""

    @property
    def name(self) -> str:
        """The file, as errors call it."""
        return self._place.name

    def read(self) -> tuple[Content, float]:
        """The snapshot, and how many seconds ago it was written.

        Raises:
            RegistryError: there is none of this registry, or it is not valid.
        """
        data = load(self._place)
        revision = self._revision(data)
        content = Content(revision, parse(data, self._place))
        self._has = revision
        return content, max(0.0, time.time() - os.stat(self._place.path).st_mtime)

    def keep(self, content: Content) -> None:
        """Writes the snapshot if it is another; that it cannot be written is logged once.

        A large registry that often changes is not written after each change, but every so often.
        """
        started = time.monotonic()
        if self._has == content.revision or started < self._due:
            return
        fault = ""
        try:
            self._write(content)
            self._has = content.revision
        except (RegistryError, OSError) as error:
            fault = f"The last good snapshot cannot be kept: {error}"
        if fault and fault != self._fault:
            _logger.error("%s", fault)
        self._fault = fault
        done = time.monotonic()
        self._due = done + max(_PAUSE if fault else 0.0, _SHARE * (done - started))

    def _write(self, content: Content) -> None:
        path = self._place.path
        with locked(path):
            if os.path.exists(path) and self._revision(load(self._place)) == content.revision:
                return  # another process has written it
            replace(path, self._data(content).encode(errors="surrogatepass"))

    def _revision(self, data: bytes) -> str:
        head = _HEAD.match(data)
        if head is None or head[1] != self._name.encode():
            data = b""  # whose file this is is not known, nor what stands in it
            raise RegistryError(
                f"{self.name}: this is not a snapshot of {self._name}, so it is neither used nor "
                "replaced. Name another file in OPENAI_PROJECT_GUARD_SNAPSHOT."
            )
        return head[2].decode()

    def _data(self, content: Content) -> str:
        head = f"# The last good snapshot of {self._name}, revision {content.revision}.\n"
        return head + _written(content.snapshot)


def _written(snapshot: Snapshot) -> str:
    """A snapshot in the registry file's format."""
    projects, keys = listing(snapshot)
    of_project: dict[str, dict[str, KeyBinding]] = {project: {} for project in projects}
    for fingerprint, bindings in keys.items():
        for project, held in bindings.items():
            of_project[project][fingerprint] = held
    tables = [
        written_project(project, notes, of_project[project]) for project, notes in projects.items()
    ]
    return "\n".join(["version = 1\n", *tables])
