"""`pull`: makes a file say what the registry in Redis is."""

from __future__ import annotations

import argparse

from openai_project_guard._cli import transfer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `pull`."""
    parser.epilog = (
        "Shows what would change, and asks. What Redis does not have is removed from the file; the "
        "file's comments and layout stay. Exit status: 0 if both say the same in the end, 1 if not."
    )
    parser.add_argument("file", metavar="FILE", help="the registry file; made where it is missing")
    transfer.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Shows the difference, and writes it.

    Returns:
        0 if both say the same now, 1 if not.
    """
    url = transfer.registry_url(args.registry)
    from openai_project_guard._sources.redis.transfer import Pull

    return transfer.run(Pull(args.file, url), args.file, args)
