"""Zero-code activation: what `autowrapt` loads when an interpreter starts.

`AUTOWRAPT_BOOTSTRAP=openai_project_guard` names the entry-point group that leads here.
"""

from __future__ import annotations

from types import ModuleType


def sdk_is_imported(module: ModuleType) -> None:
    """Does nothing: to find this function, the package was imported while the interpreter starts.

    That has the guard enabled before `openai` is imported; autowrapt calls this one afterwards.
    """
