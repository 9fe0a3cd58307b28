"""What Redis may answer instead of doing as it is told."""

from __future__ import annotations


class ServerError(Exception):
    """The server gave no answer that can be used.

    Args:
        text: why, without a password.
        fix: what ends a message that has this error in it; empty where there is nothing to say.
    """

    def __init__(self, text: str = "", fix: str = "") -> None:
        super().__init__(text)
        self.fix = fix


class RefusedError(ServerError):
    """The server answered that it does not do that, be it only now: a replica, a full disk."""


class ForbiddenError(RefusedError):
    """This user may not do that.

    Args:
        text: what the server said.
        command: what gives a user the rights that it needs.
    """

    def __init__(self, text: str, command: str) -> None:
        # Indented, it is neither joined nor wrapped by what shows it, and can be pasted.
        super().__init__(text, f" What gives a user all it needs:\n    {command}")


class ConflictError(Exception):
    """Somebody else changed the registry after it was read; nothing was written."""
