"""The summary as one page that needs nothing else: no script, style or picture from elsewhere."""

from __future__ import annotations

import base64
import time
from hashlib import sha256
from importlib.resources import files

from openai_project_guard._audit.change import has_malformed_key, sent_with
from openai_project_guard._audit.summary import KINDS, Summary, calls_of, day, kind_of
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._versions import how_to_install

_MEANING = {
    "blocked": "refused before it was sent",
    "warned": "sent, though it was wrong",
    "drift": "the server named another project than the registry",
    "injected": "sent with its project put in",
    "allowed": "in order",
}


def render(summary: Summary) -> str:
    """The page.

    Raises:
        ConfigurationError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise ConfigurationError(
            f"--html needs jinja2, which is not installed. {how_to_install('report')}"
        ) from None
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"day": day, "number": "{:,}".format}
    functions = (kind_of, sent_with, has_malformed_key)
    environment.globals |= {function.__name__: function for function in functions}
    folder = files("openai_project_guard._audit")
    script = (folder / "page.js").read_text(encoding="utf-8")
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    return template.render(
        summary=summary,
        kinds=KINDS,
        meaning=_MEANING,
        most=max((calls_of(kinds) for kinds in summary.projects.values()), default=1) or 1,
        calls=calls_of,
        now=time.time(),
        style=(folder / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(sha256(script.encode()).digest()).decode(),
    )
