"""The whole life of a key: through the command line, and in a process that runs all the while."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import support
from support import A, B
from test_cli_registry import ROOT, command

from openai_project_guard.loopback import loopback_api

clean = support.clean

SERVICE = """
import os, sys, time
import openai_project_guard as opg
from openai import OpenAI

keys = sys.argv[1:]
clients = [OpenAI(api_key=os.environ[name], project="proj_a", max_retries=0) for name in keys]
while True:
    fates = []
    for client in clients:
        try:
            client.models.list()
            fates.append("pass")
        except opg.UnregisteredKeyError:
            fates.append("refused")
    print(*fates, flush=True)
    time.sleep(0.02)
"""


def test_register_rotate_remove_while_a_service_runs(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with loopback_api({A: "proj_a", B: "proj_a"}) as api:
        variables = {
            "OPENAI_BASE_URL": api.base_url,
            "OPENAI_PROJECT_GUARD_HOSTS": "127.0.0.1",
            "OLD_KEY": A,
            "NEW_KEY": B,
        }

        def guard(*argv: str) -> None:
            done = command(*argv, env=variables)
            assert done.returncode == 0, done.stderr

        guard("register", "proj_a", "--alias", "bot", "--key-env", "OLD_KEY", "--verify")
        service = subprocess.Popen(
            [sys.executable, "-c", SERVICE, "OLD_KEY", "NEW_KEY"],
            env={
                **os.environ,
                **variables,
                "PYTHONPATH": ROOT,
                "OPENAI_PROJECT_GUARD": "enforce",
            },
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        try:
            assert service.stdout is not None
            read = service.stdout.readline
            assert until(read, "pass refused") < 30  # it starts: only the old key is registered
            guard("register", "bot", "--key-env", "NEW_KEY", "--note", "rotated")
            assert until(read, "pass pass") < 1
            guard("remove", "sk-proj-…AAAA")
            assert until(read, "refused pass") < 1
            arrived = len([line for line in api.ledger if line.key_hint == "sk-proj-…AAAA"])
            for _ in range(5):
                assert read().split() == ["refused", "pass"]
            assert arrived == len([x for x in api.ledger if x.key_hint == "sk-proj-…AAAA"])
            assert service.poll() is None  # it was never started again
        finally:
            service.kill()
            service.wait()
            service.stdout.close()


def until(read: Callable[[], str], wanted: str) -> float:
    """How long it takes until the service's calls fare so, in seconds from now."""
    begun = time.monotonic()
    while (line := read().strip()) != wanted:
        assert line, "the service has ended"
        assert time.monotonic() - begun < 30, line
    return time.monotonic() - begun
