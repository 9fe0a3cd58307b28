"""Shows that the hooks work: by calls of real clients that must pass and calls that must not."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from openai_project_guard import _hooks
from openai_project_guard._cli.client import Sent, call_async, call_sync
from openai_project_guard._cli.secret import without_keys
from openai_project_guard._cli.switched import on, without_variables
from openai_project_guard._errors import UnsupportedSDKError
from openai_project_guard._hooks import patch as _place
from openai_project_guard._types import Mode

# Made up, and known to nobody but the registry of the proof.
_KEY, _OTHER_KEY = "sk-proj-proof-one-not-a-real-key", "sk-proj-proof-two-not-a-real-key"
_REGISTRY = {"proj_proof_one": _KEY, "proj_proof_two": _OTHER_KEY}


@dataclass(frozen=True)
class Proof:
    """One kind of client, and what became of its two calls.

    Attributes:
        client: `OpenAI` or `AsyncOpenAI`.
        matching: `let through`, or what happened instead.
        wrong: `refused`, or what happened instead.
    """

    client: str
    matching: str
    wrong: str

    @property
    def is_good(self) -> bool:
        """Whether the hooks do what they should."""
        return (self.matching, self.wrong) == ("let through", "refused")


@dataclass(frozen=True)
class Hooks:
    """The places where the guard takes hold.

    Attributes:
        found: their names.
        lost: those that another tool took off.
        proofs: that they work.
        error: why they cannot be put in.
    """

    found: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()
    error: str | None = None

    @property
    def are_good(self) -> bool:
        """Whether they are there and work."""
        proven = bool(self.proofs) and all(proof.is_good for proof in self.proofs)
        return proven and not self.lost and not self.error


def prove() -> Hooks:
    """Puts the hooks in, makes the calls, and takes them off again."""
    lost = _hooks.unreached() if _hooks.is_installed else ()
    try:
        with without_variables(), on(Mode.ENFORCE, _REGISTRY):
            for name in ("websockets.sync.client", "websockets.asyncio.client"):
                with suppress(ImportError):  # it is an extra of the SDK
                    importlib.import_module(name)
            proofs = tuple(_proofs())
            return Hooks(_names(), lost or _hooks.unreached(), proofs)
    except UnsupportedSDKError as error:
        return Hooks((), lost, (), str(error))


def _names() -> tuple[str, ...]:
    """Package, module and name of each place."""
    reached = [place for place in list(_place._places.values()) if place.is_reached()]
    return tuple(sorted(_name(place.owner, place.name) for place in reached))


def _name(owner: Any, name: str) -> str:
    if isinstance(owner, type):
        return f"{owner.__module__}.{owner.__qualname__}.{name}"
    return f"{owner.__name__}.{name}"


def _proofs() -> Iterator[Proof]:
    def wait(arrive: Callable[[Sent], object], **options: Any) -> None:
        asyncio.run(call_async(arrive, **options))

    for client, call in (("OpenAI", call_sync), ("AsyncOpenAI", wait)):
        yield Proof(client, _fate(call, "proj_proof_one"), _fate(call, "proj_proof_two"))


def _fate(call: Callable[..., None], project: str) -> str:
    from openai_project_guard._check.errors import ProjectMismatchError

    arrived: list[Sent] = []
    try:
        call(arrived.append, api_key=_KEY, project=project)
    except ProjectMismatchError:
        return "refused after it was sent" if arrived else "refused"
    except Exception as error:  # whatever it is, the call did not do as it should
        return without_keys(f"failed: {type(error).__name__}: {error}")
    return "let through" if arrived else "lost"
