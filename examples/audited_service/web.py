"""The service itself: `gunicorn --workers 4 web:app` answers /greet, /summarize and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import answers
import documents
from openai import OpenAIError

PAGES = {f"/{page.__name__}": page for page in (*answers.PAGES, *documents.PAGES)}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application; the API refuses some of the calls whose client is wrong."""
    status = "200 OK"
    try:
        body = PAGES[environ["PATH_INFO"]]()
    except OpenAIError as error:
        status, body = "502 Bad Gateway", f"failed: {error}"
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [body.encode()]
