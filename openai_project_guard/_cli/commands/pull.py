"""`pull`: replace a file with the contents of the registry in Redis."""

from __future__ import annotations

from openai_project_guard._cli.transfer import Transfer

_pull = Transfer(
    into_redis=False,
    file="the registry file; made where it is missing",
    says="What Redis does not have is removed from the file, whose comments and layout stay.",
)
add_arguments, run = _pull.add_arguments, _pull.run
