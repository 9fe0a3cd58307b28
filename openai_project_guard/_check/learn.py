"""`unregistered="learn"`: the server's word on which project a key belongs to."""

from __future__ import annotations

import logging
from threading import RLock, Thread

from openai_project_guard import _env
from openai_project_guard._forks import fork_safe
from openai_project_guard._keys import fingerprint_of
from openai_project_guard._log import log
from openai_project_guard._registry.model import LEARNED, LEARNED_PLACE, Place, Project, records_of
from openai_project_guard._registry.validate import is_project_id
from openai_project_guard._state import STATE, active_settings

_learning = fork_safe(RLock())


def learn(key_digest: bytes, key_hint: str, project: str, status: int) -> None:
    """Adds a key under the project that a successful answer named.

    An error's word is not taken, nor a malformed id, and a key that was registered meanwhile keeps
    its project.
    """
    if not (200 <= status < 300 or status == 101) or not is_project_id(project):
        return
    settings = active_settings()
    for source in settings.sources:
        # A registry that others share decides whose the key is when two processes differ.
        if source.remember(key_digest, key_hint, project):
            return
    path = _env.path(_env.LEARNED)
    with _learning:
        if records_of(settings.registries, key_digest):
            return
        place = Place(LEARNED_PLACE, path)
        STATE.registered.add(key_digest, Project(project, place), key_hint, LEARNED)
    log(logging.INFO, "Learned from the server: key %s belongs to project %s.", key_hint, project)
    if path is not None:
        # A file is written once a key, but it takes a lock and a sync: not on the path of a call.
        write = Thread(target=_keep, args=(path, key_digest, key_hint, project))
        try:
            write.start()
        except RuntimeError as error:  # the interpreter is shutting down, or at its limit
            log(logging.ERROR, "What was learned could not be kept in %s: %s", path, error)


def _keep(path: str, key_digest: bytes, key_hint: str, project: str) -> None:
    from openai_project_guard._registry import stores

    try:
        stores.add(path, project, fingerprint_of(key_digest), hint=key_hint, note=LEARNED)
    except Exception as error:
        log(logging.ERROR, "What was learned could not be kept in %s: %s", path, error)
