"""A registry that something keeps up to date, and how it is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from openai_project_guard._registry.registry import Registry

State = Literal["current", "stale"]
STATES: tuple[State, ...] = get_args(State)


class Status(NamedTuple):
    """How a source is doing, for whoever watches a fleet.

    Attributes:
        state: `current`, or `stale` while the last good registry stands in for one that is out of
            reach or not valid.
        age: seconds since the source was last known to hold what is active.
        keys: how many keys the registry has.
        refused: how many of the source's entries are refused; those of a file are all refused or
            none.
    """

    state: State
    age: float
    keys: int
    refused: int = 0


class Source:
    """A registry that something keeps up to date.

    A source is made by a function of one argument, the URL that names it, which raises
    `RegistryError` if it cannot be read. From then on its errors are logged, and what it gave last
    stays active. A source of another package need not derive from this class: it has a `registry`
    and `refresh()`.

    Attributes:
        name: what it is called, without a password.
        writable_at: the same, if commands can change it: what their `--registry` takes.
        registry: the registry; always the same object. Its snapshot is swapped whole.
        is_read: whether it was ever read; until then, its keys count as unregistered.

    Example:
        >>> class Vault:
        ...     def __init__(self, url: str) -> None:
        ...         self.registry = Registry()
        ...         self.registry.register("sk-proj-0123456789Ab3d", "proj_support")
        ...     def refresh(self, now: float) -> None:
        ...         pass
    """

    name: str = "a source without a name"
    writable_at: str | None = None
    registry: Registry
    is_read: bool = True

    @property
    def problem(self) -> str | None:
        """Why it cannot be read now, as a sentence without a password; `None` where it can."""
        return None

    def refresh(self, now: float) -> None:
        """Called before every judged call with `time.monotonic()`: it must not wait."""

    def status(self) -> Status:
        """How it is doing now."""
        return Status("current", 0.0, len(self.registry.snapshot.keys))

    def remember(self, key_digest: bytes, key_hint: str, project: str) -> bool:
        """Takes in what the server said of an unregistered key, and shares it; does not wait.

        Args:
            key_digest: the key's SHA-256.
            key_hint: what may be shown of the key.
            project: the id of the project that the server named.

        Returns:
            Whether it did. If not, the caller remembers it for this process.
        """
        del key_digest, key_hint, project
        return False
