"""Replaces a file in one step, one writer at a time."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 30.0
"""Seconds that a writer waits for the others."""
_PAUSE = 0.01
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def locked(target: str) -> Iterator[None]:
    """Holds the lock of a file's writers; readers need none.

    The lock lies on a file of its own, `.NAME.lock`, since the target itself is replaced. The
    system lets go of it when its holder dies; a lock file left behind by one does no harm.

    It is not one of `filelock`, whose release removes the lock file in some versions (3.21 to
    3.29) and leaves it in others (4.3): beside a file that is under version control it must go, and
    where it is removed twice, the second removal may take the next holder's.

    Raises:
        TimeoutError: other writers held the lock all the time.
        OSError: the directory cannot be written.
    """
    directory, name = os.path.split(target)
    lock = os.path.join(directory, f".{name}.lock")
    descriptor = _acquired(lock)
    try:
        yield
    finally:
        # Removed while it is held: who waits for this very file finds it gone and opens the next.
        with suppress(OSError):  # Windows removes no open file; it is used again then
            os.unlink(lock)
        os.close(descriptor)


def _acquired(lock: str) -> int:
    deadline = time.monotonic() + PATIENCE
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o666)
        with suppress(BlockingIOError, PermissionError, FileNotFoundError):
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):  # it is still there
                return descriptor
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise TimeoutError(f"another process holds its lock {os.path.basename(lock)}")
        time.sleep(_PAUSE)


def replace(target: str, data: bytes) -> None:
    """Puts new content in place of the old; a crash leaves the one or the other.

    Mode and, where permitted, owner stay; a new file is readable by its owner only. The caller
    holds the lock.

    Raises:
        OSError: the directory or the file cannot be written; the old content stays.
    """
    directory, name = os.path.split(target)
    beginning, ending = f".{name}.", ".tmp"
    for other in os.listdir(directory):  # writers that died; the living are behind our lock
        if other.startswith(beginning) and other.endswith(ending):
            with suppress(OSError):
                os.unlink(os.path.join(directory, other))
    descriptor, temporary = tempfile.mkstemp(ending, beginning, directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        with suppress(FileNotFoundError):
            old = os.stat(target)
            if sys.platform != "win32":
                with suppress(PermissionError):  # only root may give a file away
                    os.chown(temporary, old.st_uid, old.st_gid)
            os.chmod(temporary, stat.S_IMODE(old.st_mode))
        _rename(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if sys.platform != "win32":
        opened = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(opened)  # or a power failure may bring the old name back
        finally:
            os.close(opened)


def _rename(temporary: str, target: str) -> None:
    if sys.platform == "win32":  # it refuses while a reader has the target open
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            with suppress(PermissionError):
                os.replace(temporary, target)
                return
            time.sleep(_PAUSE)
    os.replace(temporary, target)
