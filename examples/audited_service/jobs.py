"""What is done at night, by a Celery worker: 12 call sites."""

from __future__ import annotations

from collections.abc import Callable
from os import environ

from celery import Celery
from clients import (
    MODEL,
    billing,
    chat,
    embedding,
    mail,
    notes,
    ranking,
    search,
    support,
    translation,
)
from openai import OpenAIError

FOLDER = environ["QUEUE_FOLDER"]

app = Celery("jobs", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{FOLDER}/queue",
    "data_folder_out": f"{FOLDER}/queue",
    "control_folder": f"{FOLDER}/control",
}
app.conf.broker_connection_retry_on_startup = True


def digest() -> str:
    return chat.responses.create(model=MODEL, input="Write the digest.").output_text


def clean_up() -> str:
    return chat.responses.create(model=MODEL, input="Which of these can go?").output_text


def index() -> str:
    return search.responses.create(model=MODEL, input="Index these.").output_text


def find_gaps() -> str:
    return search.responses.create(model=MODEL, input="What is missing?").output_text


def rank_again() -> str:
    return ranking.responses.create(model=MODEL, input="Put all of these in order.").output_text


def triage() -> str:
    return support.responses.create(model=MODEL, input="Sort these requests.").output_text


def dun() -> str:
    return billing.responses.create(model=MODEL, input="Who has not paid?").output_text


def embed_all() -> str:
    found = embedding.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    return str(len(found.data))


def embed_again() -> str:
    found = embedding.embeddings.create(model="text-embedding-3-small", input=["three"])
    return str(len(found.data))


def newsletter() -> str:
    return mail.responses.create(model=MODEL, input="Write the newsletter.").output_text


def tidy_notes() -> str:
    return notes.responses.create(model=MODEL, input="Tidy these notes.").output_text


def translate_all() -> str:
    return translation.responses.create(model=MODEL, input="Translate all of these.").output_text


JOBS: dict[str, Callable[[], str]] = {
    job.__name__: job
    for job in (
        *(digest, clean_up, index, find_gaps, rank_again, triage),
        *(dun, embed_all, embed_again, newsletter, tidy_notes, translate_all),
    )
}


@app.task
def night(name: str) -> str:
    """Does one of the jobs; the API refuses some of those whose client is wrong."""
    try:
        return JOBS[name]()
    except OpenAIError as error:
        return f"failed: {error}"
