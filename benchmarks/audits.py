"""The row about the audit: what the guard adds to a whole call with one, against without."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hot_path
import stage
from rounds import in_turns
from rows import Row

from openai_project_guard import _settings
from openai_project_guard._state import STATE


def audit(turns: int) -> Row:
    """Whole calls of the SDK: the audit finds the client that makes a call by the frames."""
    with tempfile.TemporaryDirectory() as folder, hot_path.enabled():
        made = stage.mocked_client(is_async=False)
        registry = {stage.PROJECT: stage.KEY}
        without = hot_path.settings_of(registry)
        with_it = _settings.build("enforce", STATE.registered, registry=registry, audit=folder)
        with_it.open_audit()
        assert with_it.audit is not None
        bare = hot_path.whole_twin(made, is_guarded=False)
        guarded = hot_path.whole_twin(made, is_guarded=True)
        try:
            times = in_turns(
                {
                    "bare": _under(None, bare),
                    "without": _under(without, guarded),
                    "with": _under(with_it, guarded),
                },
                turns,
            )
        finally:
            STATE.audit = None
            with_it.audit.close()
        written = "".join(file.read_text(encoding="utf-8") for file in Path(folder).iterdir())
        assert stage.PROJECT in written, "the audit counted nothing: nothing was measured"
    medians = times.added_median("with") / times.added_median("without")
    return Row(
        "audit",
        "time added to a mocked `chat.completions.create`, allowed call, with an audit against "
        "without",
        "x",
        1.5,
        {"": times.added("with") / times.added("without")},
        [
            *(f"µs a call: {name}: {times.shown(name)}" for name in times.rounds),
            f"by medians {medians:.2f}",
        ],
    )


def _under(settings: _settings.Settings | None, client: Any) -> Callable[[], float]:
    def measure() -> float:
        STATE.audit = None if settings is None else settings.audit
        STATE.settings = settings
        start = time.perf_counter()
        client.chat.completions.create(**stage.QUESTION)
        return time.perf_counter() - start

    return measure
