"""The rows about registries: memory a key, loading a file, and reloading it under load."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from itertools import cycle
from pathlib import Path
from typing import Any

import stage
from rounds import in_turns
from rows import Row

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


PACED = "calls with 2 ms between"  # as if an answer took that long
SHAPES = {"100,000 x 10": (100_000, 10), "2,000 x 500": (2_000, 500)}


def memory(keys: int = 1_000_000) -> Row:
    """Bytes a key, each case in a process of its own."""
    measured: dict[str, float] = {}
    details: list[str] = []
    for case in (*SHAPES, "register()"):
        found = {}
        for meter in ("tracemalloc", "rss"):
            command = [sys.executable, __file__, "memory", case, meter, str(keys)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[meter] = json.loads(done.stdout)
        measured[case] = found["tracemalloc"]
        details.append(
            f"{case}: {found['tracemalloc']:.0f} bytes a key by tracemalloc, "
            f"{found['rss']:.0f} by the growth of the resident set"
        )
    return Row("memory", f"memory a key, registry of {keys:,}", " bytes", 250, measured, details)


def _memory_of(case: str, meter: str, keys: int) -> float:
    """Builds a registry and tells what it weighs."""
    from openai_project_guard import Registry

    registry = Registry()
    if case == "register()":
        registry.register("sk-proj-warm-up-0123456789", "proj_warm")  # imports, caches
    else:
        from openai_project_guard._registry.file.parse import Reader
        from openai_project_guard._registry.file.place import FilePlace

        reader = Reader(FilePlace("openai-projects.toml"))
        registry.snapshot = reader.snapshot
    gc.collect()
    if meter == "tracemalloc":
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
    else:
        before = _resident()
    if case == "register()":
        for number in range(keys):
            registry.register(f"sk-proj-{number:0155d}A", f"proj_{number // 10:024x}")
    else:
        each = SHAPES[case][1]
        for number in range(keys // each):
            # A table as tomllib makes it: every string its own.
            table: dict[str, Any] = {
                "id": f"proj_{number:024x}",
                "keys": [
                    {
                        "fingerprint": f"sha256:{number * each + position:064x}",
                        "hint": f"sk-proj-…{(number * each + position) % 10000:04d}",
                    }
                    for position in range(each)
                ],
            }
            reader.read_project(f"team-{number}", table)
        del table
    gc.collect()
    after = tracemalloc.get_traced_memory()[0] if meter == "tracemalloc" else _resident()
    assert keys <= len(registry) <= keys + 1
    return (after - before) / keys


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def loading(turns: int) -> Row:
    """Loading a file of 20,000 keys against what tomllib needs for it."""
    from openai_project_guard import Registry

    text = stage.registry_text(2_000, 10)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "openai-projects.toml")
        path.write_text(text, encoding="utf-8")

        def parse() -> float:
            start = time.perf_counter()
            with path.open("rb") as file:
                found = tomllib.load(file)
            spent = time.perf_counter() - start
            del found
            return spent

        def load() -> float:
            start = time.perf_counter()
            found = Registry.from_file(path)
            spent = time.perf_counter() - start
            assert len(found) == 20_000
            return spent

        times = in_turns({"tomllib": parse, "Registry.from_file": load}, turns)
        with_gc = min(load() for _ in range(3)) / min(parse() for _ in range(3))
    ratio = times.floor("Registry.from_file") / times.floor("tomllib")
    return Row(
        "load",
        "loading a file of 20,000 keys (2,000 projects by 10), against `tomllib` alone",
        "x",
        1.5,
        {"": ratio},
        [
            *(f"ms: {name}: {times.shown(name, 1e3)}" for name in times.rounds),
            f"with the garbage collector on: {with_gc:.2f}",
        ],
    )


def reload(repeats: int) -> Row:
    """The longest wait of any call of 8 threads while 20,000 keys are reloaded."""
    import openai_project_guard as opg

    texts = cycle(stage.registry_text(2_000, 10) for _ in range(2))
    waits: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "openai-projects.toml")
        path.write_text(next(texts), encoding="utf-8")
        opg.enable(registry=path)
        try:
            for case, pace in ((PACED, 0.002), ("calls without a pause", 0.0)):
                found = waits[case] = {"without": [], "with": []}
                _load(path, pace, None)  # warm
                for _ in range(repeats):
                    found["without"].append(_load(path, pace, None))
                    found["with"].append(_load(path, pace, next(texts)))
        finally:
            opg.disable()
    measured: dict[str, float] = {}
    details: list[str] = []
    for case, found in waits.items():
        if case == PACED:
            measured[case] = statistics.median(found["with"]) * 1e3
        details += [
            f"{case}: longest wait in ms, {name} a reload: "
            + " ".join(f"{wait * 1e3:.1f}" for wait in found[name])
            for name in found
        ]
    return Row(
        "reload",
        "longest wait of a call for a reload of 20,000 keys under load from 8 threads",
        " ms",
        10,
        measured,
        [
            *details,
            f"what counts: {PACED}, median of the runs with a reload. Without a pause the threads "
            f"wait for each other, up to {sys.getswitchinterval() * 1e3:.0f} ms for each before "
            "them, reload or not",
        ],
    )


def _load(path: Path, pace: float, new_text: str | None) -> float:
    """Has 8 threads call for a second, with a new file after a third of it; the longest call."""
    import hot_path

    from openai_project_guard._state import STATE

    longest = [0.0] * 8
    ends = time.perf_counter() + 1.2

    def handing_over() -> tuple[stage.Send, Any]:
        made = stage.client(is_async=False)
        return hot_path.Sends(made, is_async=False).guarded, stage.marked_request(made)

    def calls(number: int) -> None:
        send, request = handing_over()
        worst = 0.0
        start.wait()
        while True:
            before = time.perf_counter()
            send(request)
            after = time.perf_counter()
            worst = max(worst, after - before)
            if after > ends:
                break
            if pace:
                time.sleep(pace)
        longest[number] = worst

    start = threading.Barrier(9)
    threads = [threading.Thread(target=calls, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    start.wait()
    ends = time.perf_counter() + 1.2
    assert STATE.settings is not None
    registry = STATE.settings.sources[0].registry
    snapshot = registry.snapshot
    time.sleep(0.4)
    if new_text is not None:
        fresh = path.with_suffix(".new")
        fresh.write_text(new_text, encoding="utf-8")
        fresh.replace(path)
    for thread in threads:
        thread.join()
    if new_text is not None:
        patience = time.perf_counter() + 5
        send, request = handing_over()
        while registry.snapshot is snapshot and time.perf_counter() < patience:
            send(request)
            time.sleep(0.01)
        assert registry.snapshot is not snapshot, "the file was not reloaded"
    return max(longest)


if __name__ == "__main__":
    print(json.dumps(_memory_of(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
