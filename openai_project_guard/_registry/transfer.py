"""Moves a registry from one address to another: what would change there, and the change."""

from __future__ import annotations

from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.diff import Step, difference


class Transfer:
    """Makes one registry what another is. Comments and layout of a file stay.

    Args:
        origin: the address of the registry that is right.
        target: the address of the other; it need not be there.

    Attributes:
        steps: what would change.
        is_new: whether there is nothing to change yet.

    Raises:
        RegistryError: one of them cannot be read.
    """

    def __init__(self, origin: str, target: str) -> None:
        self._wanted = edit.read(origin).snapshot
        self._target = target
        found = edit.find(target)
        self._version = found.version
        self.is_new = found.version is None
        self.steps = [
            *difference(found.snapshot, self._wanted),
            *(
                Step("-", f"{name}, which is not in order: {fault}")
                for name, fault in found.faults.items()
            ),
        ]

    def carry_out(self) -> None:
        """Writes it.

        Raises:
            RegistryError: somebody else changed the target meanwhile, or it cannot be written.
        """
        edit.change(
            self._target, lambda draft: draft.become(self._wanted, self._version), create=True
        )
