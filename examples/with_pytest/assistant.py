"""The code under test: two assistants, each with a project of its own."""

from __future__ import annotations

import os
from functools import cache

from openai import OpenAI


def support() -> OpenAI:
    """The client of the support assistant."""
    return OpenAI(api_key=os.environ["SUPPORT_KEY"], project="proj_support")


@cache
def billing() -> OpenAI:
    """The client of the billing assistant, which has a mistake in it."""
    return support().with_options(api_key=os.environ["BILLING_KEY"])  # still says proj_support


def answer(client: OpenAI, question: str) -> str:
    """What a model says."""
    return client.responses.create(model="gpt-4o-mini", input=question).output_text
