"""`python -m openai_project_guard.loopback`: the server alone, for curl and other languages."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from openai_project_guard._keys import digest, fingerprint_of, redact
from openai_project_guard._registry.validate import is_project_id
from openai_project_guard.loopback._api import LoopbackAPI, loopback_api
from openai_project_guard.loopback._directory import ADMIN_KEY

_KEY_ENV = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_DEFAULT = ("proj_one", "proj_two")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(redact(message))  # it quotes arguments, one of which may be a key


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until it is interrupted or terminated.

    Args:
        argv: the arguments. Default: those of the process.

    Returns:
        0.

    Raises:
        SystemExit: with 2 for bad usage, or if the port is taken.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    keys = _given(args.key_env, parser) or _generated()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with loopback_api(
            {key: projects for key, (_, projects) in keys.items()}, port=args.port
        ) as api:
            sys.stdout.write(_instructions(api, keys))
            sys.stdout.flush()
            while True:
                time.sleep(0.2)  # not longer: a signal that comes as it begins waits for its end
    except (OSError, OverflowError) as error:
        parser.error(f"port {args.port} cannot be listened on: {error}")
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "python -m openai_project_guard.loopback",
        description="A server on 127.0.0.1 that plays the OpenAI API's part, for trying things out "
        "by hand and from other languages. Nothing leaves the machine.",
        epilog="It prints its base URL and the lines to export, and serves until Ctrl-C. Without "
        "--key-env it makes up two keys, each of a project of its own.",
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="default: a free one")
    parser.add_argument(
        "--key-env",
        action="append",
        default=[],
        metavar="NAME=PROJECT",
        help="a key, by the name of the variable that holds it, and its project; can be repeated, "
        "also for further projects of the same key",
    )
    return parser


def _given(
    key_envs: Sequence[str], parser: argparse.ArgumentParser
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """For each key, how a shell spells it and which projects it belongs to."""
    keys: dict[str, tuple[str, tuple[str, ...]]] = {}
    for key_env in key_envs:
        matched = _KEY_ENV.fullmatch(key_env)
        if matched is None or not is_project_id(matched[2]):
            parser.error(
                "--key-env takes NAME=PROJECT: the name of a variable, and a project id, such as "
                "OPENAI_API_KEY=proj_one"
            )
        name, project = matched.groups()
        key = os.environ.get(name)
        if not key:
            parser.error(f"the variable {name}, which --key-env names, is not set or is empty")
        spelling, projects = keys.get(key, (f'"${name}"', ()))
        keys[key] = (spelling, (*projects, project))
    return keys


def _generated() -> dict[str, tuple[str, tuple[str, ...]]]:
    made = {f"sk-proj-loopback-{secrets.token_hex(12)}": project for project in _DEFAULT}
    return {key: (key, (project,)) for key, project in made.items()}


def _instructions(api: LoopbackAPI, keys: dict[str, tuple[str, tuple[str, ...]]]) -> str:
    """What a shell can read: exports, and comments."""
    (first, (project, *_)), *others = keys.values()
    registered = ",".join(
        f"{project}={fingerprint_of(digest(key))}"
        for key, (_, projects) in keys.items()
        if not key.startswith("sk-admin-")  # it belongs to no project
        for project in projects
    )
    lines = [
        f"# The OpenAI API's part is played at {api.base_url} until Ctrl-C.",
        f"export OPENAI_BASE_URL={api.base_url}",
        f"export OPENAI_API_KEY={first}",
        f"export OPENAI_PROJECT_ID={project}",
        f"export OPENAI_ADMIN_KEY={ADMIN_KEY}",
        # Else a key that is not registered is neither refused here nor learned.
        "export OPENAI_PROJECT_GUARD_HOSTS=127.0.0.1",
        f"export OPENAI_PROJECT_GUARD_KEYS={registered}",
        *(f"# Another key, of {', '.join(projects)}: {key}" for key, projects in others),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
