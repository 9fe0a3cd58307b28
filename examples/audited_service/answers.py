"""What users ask for while they wait: 16 call sites."""

from __future__ import annotations

import asyncio

from clients import MODEL, agent, chat, mail, moderation, notes, ranking, search, speech, support


def greet() -> str:
    return chat.responses.create(model=MODEL, input="Greet the user.").output_text


def answer() -> str:
    return chat.responses.create(model=MODEL, input="Answer the question.").output_text


def stream() -> str:
    events = chat.responses.create(model=MODEL, input="Tell a story.", stream=True)
    return str(sum(1 for _ in events))


def find() -> str:
    return search.responses.create(model=MODEL, input="Find it.").output_text


def suggest() -> str:
    return search.responses.create(model=MODEL, input="Suggest a query.").output_text


def rank() -> str:
    return ranking.responses.create(model=MODEL, input="Put these in order.").output_text


def explain_rank() -> str:
    found = ranking.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Why this order?"}],
    )
    return str(found.choices[0].message.content)


def help_out() -> str:
    return support.responses.create(model=MODEL, input="Help out.").output_text


def escalate() -> str:
    return support.responses.create(model=MODEL, input="Is this urgent?").output_text


def draft_mail() -> str:
    return mail.responses.create(model=MODEL, input="Draft a mail.").output_text


def check() -> str:
    return moderation.responses.create(model=MODEL, input="Is this all right?").output_text


def take_note() -> str:
    return notes.responses.create(model=MODEL, input="Take a note.").output_text


def transcribe() -> str:
    async def ask() -> str:
        return (await speech.responses.create(model=MODEL, input="Write it down.")).output_text

    return asyncio.run(ask())


def read_aloud() -> str:
    async def ask() -> str:
        return (await speech.responses.create(model=MODEL, input="Read it aloud.")).output_text

    return asyncio.run(ask())


def plan() -> str:
    async def ask() -> str:
        return (await agent.responses.create(model=MODEL, input="Make a plan.")).output_text

    return asyncio.run(ask())


def act() -> str:
    async def ask() -> str:
        return (await agent.responses.create(model=MODEL, input="Take the next step.")).output_text

    return asyncio.run(ask())


PAGES = (
    *(greet, answer, stream, find, suggest, rank, explain_rank, help_out),
    *(escalate, draft_mail, check, take_note, transcribe, read_aloud, plan, act),
)
