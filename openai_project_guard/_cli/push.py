"""`push`: makes the registry in Redis what a file says."""

from __future__ import annotations

import argparse

from openai_project_guard._cli import transfer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `push`."""
    parser.epilog = (
        "Shows what would change, and asks. What the file does not name is removed from Redis. If "
        "somebody else changes the registry in between, nothing is written. Exit status: 0 if both "
        "say the same in the end, 1 if not."
    )
    parser.add_argument("file", metavar="FILE", help="the registry file")
    transfer.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Shows the difference, and writes it.

    Returns:
        0 if both say the same now, 1 if not.
    """
    url = transfer.registry_url(args.registry)
    from openai_project_guard._sources.redis.transfer import Push

    return transfer.run(Push(args.file, url), transfer.name_of(url), args)
