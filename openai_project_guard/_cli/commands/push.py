"""`push`: replace the registry in Redis with the contents of a file."""

from __future__ import annotations

from openai_project_guard._cli.transfer import Transfer

_push = Transfer(
    into_redis=True,
    file="the registry file",
    says="What the file does not name is removed from Redis.",
)
add_arguments, run = _push.add_arguments, _push.run
