"""What users do with their documents: 12 call sites."""

from __future__ import annotations

from clients import MODEL, billing, chat, embedding, mail, moderation, notes, search, translation


def summarize() -> str:
    return chat.responses.create(model=MODEL, input="Summarize this.").output_text


def title() -> str:
    return chat.responses.create(model=MODEL, input="Find a title.").output_text


def quote() -> str:
    return search.responses.create(model=MODEL, input="Find the passage.").output_text


def invoice() -> str:
    return billing.responses.create(model=MODEL, input="Read this invoice.").output_text


def remind() -> str:
    return billing.responses.create(model=MODEL, input="Write a reminder.").output_text


def embed() -> str:
    found = embedding.embeddings.create(model="text-embedding-3-small", input="a document")
    return str(len(found.data))


def embed_query() -> str:
    found = embedding.embeddings.create(model="text-embedding-3-small", input="a query")
    return str(len(found.data))


def review() -> str:
    return moderation.responses.create(model=MODEL, input="Review this.").output_text


def translate() -> str:
    return translation.responses.create(model=MODEL, input="Translate this.").output_text


def proofread() -> str:
    return translation.responses.create(model=MODEL, input="Proofread this.").output_text


def share_by_mail() -> str:
    return mail.responses.create(model=MODEL, input="Write what goes with it.").output_text


def annotate() -> str:
    return notes.responses.create(model=MODEL, input="Write a note in the margin.").output_text


PAGES = (
    *(summarize, title, quote, invoice, remind, embed),
    *(embed_query, review, translate, proofread, share_by_mail, annotate),
)
