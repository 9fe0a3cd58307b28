"""A FastAPI service with two tenants: two projects, two keys, one process.

Each request is pinned to its tenant's project. Should the code below ever mix tenants up, say by a
client kept in the wrong place, the call is refused before it leaves.

Run it with `python examples/fastapi_two_tenants.py`. It needs fastapi and uvicorn, but neither key
nor network.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from typing import Annotated
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import uvicorn
from fastapi import Depends, FastAPI, Header
from fastapi.responses import JSONResponse
from openai import AsyncOpenAI

import openai_project_guard
from openai_project_guard import ProjectGuardError, guard
from openai_project_guard.loopback import loopback_api

KEYS = {  # in real life two variables; the registry file holds only their fingerprints
    "proj_support": "sk-proj-demo-support-not-a-real-key-Ab3d",
    "proj_billing": "sk-proj-demo-billing-not-a-real-key-Ef5g",
}


async def pinned(x_tenant: Annotated[str, Header()]) -> AsyncIterator[str]:
    """The project of the tenant that asks; until it is answered, no other may be used."""
    project = f"proj_{x_tenant}"
    with guard(project=project):
        yield project


Project = Annotated[str, Depends(pinned)]


def create_app(base_url: str) -> FastAPI:
    """The service, calling the API at `base_url`."""
    app = FastAPI()
    clients = {
        project: AsyncOpenAI(api_key=key, project=project, base_url=base_url)
        for project, key in KEYS.items()
    }

    async def ask(client: AsyncOpenAI) -> str:
        answer = await client.responses.create(model="gpt-4o-mini", input="hello")
        return answer.output_text

    @app.post("/ask")
    async def right(project: Project) -> str:
        return await ask(clients[project])

    @app.post("/mistake")
    async def wrong(project: Project) -> str:
        other = next(name for name in clients if name != project)
        return await ask(clients[other])

    @app.exception_handler(ProjectGuardError)
    async def refused(_: object, error: ProjectGuardError) -> JSONResponse:
        return JSONResponse(f"refused: {error.verdict.reason}", status_code=500)

    return app


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Runs the service on a free port, and gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def post(service: str, path: str, tenant: str) -> tuple[str, str]:
    """The path, and what the service answers a tenant there."""
    request = Request(f"{service}/{path}", method="POST", headers={"X-Tenant": tenant})
    try:
        with urlopen(request) as answer:
            return path, json.load(answer)
    except HTTPError as error:
        return path, json.load(error)


def main() -> None:
    """Asks as both tenants at once, fifty at a time, and makes the mistake every other time."""
    openai_project_guard.enable(registry=KEYS)
    logging.getLogger("openai_project_guard").addHandler(logging.NullHandler())
    requests = list(product(["ask", "mistake"], ["support", "billing"])) * 25
    with (
        loopback_api({key: project for project, key in KEYS.items()}) as api,
        serving(create_app(api.base_url)) as service,
        ThreadPoolExecutor(50) as users,
    ):
        answers = users.map(lambda request: post(service, *request), requests)
        for (path, answer), count in sorted(Counter(answers).items()):
            print(f"{count} answers to /{path}: {answer}")
        print("What the API saw, and who paid:")
        calls = Counter(
            (line.key_hint, line.project_header, line.billed_project) for line in api.ledger
        )
        for (key, header, billed), count in sorted(calls.items()):
            print(f"{count} calls with {key} and OpenAI-Project {header}, paid by {billed}")


if __name__ == "__main__":
    main()
