"""Celery tasks, each pinned to the project that is to pay for it.

Run it with `python examples/celery_task.py`. It needs celery, but neither key, network nor broker.
"""

from __future__ import annotations

from celery import Celery
from celery.contrib.testing.worker import start_worker
from openai import OpenAI

import openai_project_guard
from openai_project_guard import ProjectScopeError, guard
from openai_project_guard.loopback import loopback_api

KEYS = {
    "proj_support": "sk-proj-demo-support-not-a-real-key-Ab3d",
    "proj_billing": "sk-proj-demo-billing-not-a-real-key-Ef5g",
}

app = Celery("example", broker="memory://", backend="cache+memory://")


@app.task
@guard(project="proj_support")
def answer(question: str, base_url: str, key_of: str) -> str:
    """Asks the API; `key_of` stands for all the ways in which a worker comes by a wrong key."""
    client = OpenAI(api_key=KEYS[key_of], project="proj_support", base_url=base_url)
    return client.responses.create(model="gpt-4o-mini", input=question).output_text


def main() -> None:
    """Has a worker do the task twice, rightly and wrongly."""
    openai_project_guard.enable(registry=KEYS)
    with (
        loopback_api({key: project for project, key in KEYS.items()}) as api,
        start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30),
    ):
        print(answer.delay("hello", api.base_url, "proj_support").get(timeout=30))
        result = answer.delay("hello", api.base_url, "proj_billing")
        try:
            result.get(timeout=30)
        except ProjectScopeError as refusal:  # made again here of its text: it has no verdict
            print(f"{result.state}: {refusal}")
        print(f"Paid: {api.billed}")


if __name__ == "__main__":
    main()
