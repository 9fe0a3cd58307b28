"""A loopback server that plays the OpenAI API's part.

It knows keys and the projects they belong to, refuses a call whose `OpenAI-Project` header names
another project, writes down who paid for the rest, and answers in shapes the official SDK parses.
Nothing leaves the machine and no real key is needed. Standard library only.

Example:
    >>> from openai_project_guard.loopback import loopback_api
    >>> with loopback_api({"sk-proj-demo-one-Ab3d": "proj_one"}) as api:
    ...     api.base_url.startswith("http://127.0.0.1:"), api.ledger
    (True, ())
"""

from openai_project_guard.loopback._api import LoopbackAPI, loopback_api
from openai_project_guard.loopback._directory import ADMIN_KEY, DEFAULT_KEYS, LoopbackProject
from openai_project_guard.loopback._ledger import LedgerLine

__all__ = [
    "ADMIN_KEY",
    "DEFAULT_KEYS",
    "LedgerLine",
    "LoopbackAPI",
    "LoopbackProject",
    "loopback_api",
]
