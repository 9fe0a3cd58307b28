"""Changes what is imported already into what a mutant has, wherever it is held."""

from __future__ import annotations

import gc
import inspect
import re
import sys
from types import CodeType, FunctionType, NoneType
from typing import Any

CONSTANTS = (str, bytes, int, float, NoneType, tuple, list, dict, set, frozenset, re.Pattern)


def replacements(path: str, before: str, after: str) -> dict[CodeType, CodeType] | None:
    """The code of each function that differs, by what it was.

    None where the module's own code differs, or a class's: that has run already.
    """
    found: dict[CodeType, CodeType] = {}
    old, new = _compiled(before, path), _compiled(after, path)
    return found if _compare(old, new, found) is not None else None


def _compiled(source: str, path: str) -> CodeType:
    return compile(source, path, "exec", dont_inherit=True)  # nor its annotations as ours


def _compare(old: CodeType, new: CodeType, found: dict[CodeType, CodeType]) -> bool | None:
    """Whether they differ; None where that cannot be put right."""
    is_function = bool(old.co_flags & inspect.CO_OPTIMIZED)
    inner_old, inner_new = _inside(old), _inside(new)
    differs = _own(old) != _own(new)
    if differs and not is_function:
        return None
    if len(inner_old) == len(inner_new):
        for one, other in zip(inner_old, inner_new, strict=True):
            inner = _compare(one, other, found)
            if inner is None:
                return None
            differs |= inner
    else:
        differs = True
    if differs and is_function:
        found[old] = new
    return differs


def _inside(code: CodeType) -> list[CodeType]:
    return [const for const in code.co_consts if isinstance(const, CodeType)]


def _own(code: CodeType) -> object:
    """All of it but its line numbers and the functions inside."""
    consts = [repr(const) for const in code.co_consts if not isinstance(const, CodeType)]
    counts = (code.co_argcount, code.co_kwonlyargcount, code.co_flags, code.co_exceptiontable)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_name, code.co_code, consts, counts, names)


def swap(changed: dict[CodeType, CodeType]) -> None:
    """Puts the new code into every function that there is.

    Raises:
        ValueError: the new one needs other variables of the function around it.
    """
    for function in gc.get_objects():
        if type(function) is FunctionType and function.__code__ in changed:
            function.__code__ = changed[function.__code__]


def renew(path: str, after: str) -> bool:
    """Runs the mutant's module again and takes its constants over; False where none differs."""
    modules = [m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == path]
    if not modules:
        return True  # it will be imported, from the mutant's file
    module = modules[0]
    fresh: dict[str, Any] = {
        name: vars(module)[name] for name in ("__name__", "__file__", "__package__", "__spec__")
    }
    exec(_compiled(after, path), fresh)
    has_changed = False
    for name, new in fresh.items():
        old = vars(module).get(name)
        if not (isinstance(new, CONSTANTS) and isinstance(old, CONSTANTS)) or repr(new) == repr(
            old
        ):
            continue
        for other in list(sys.modules.values()):
            if getattr(other, "__dict__", {}).get(name, ...) is old:
                setattr(other, name, new)
                has_changed = True
    return has_changed
