"""The twelve clients of the service. Three of them are wrong: the audit's report says which."""

from __future__ import annotations

from os import environ

from openai import AsyncOpenAI, OpenAI

import openai_project_guard  # noqa: F401 - it starts as the environment says

chat = OpenAI(api_key=environ["CHAT_KEY"], project="proj_chat")
search = OpenAI(api_key=environ["SEARCH_KEY"], project="proj_search")
ranking = OpenAI(api_key=environ["RANKING_KEY"], project="proj_search")
support = OpenAI(api_key=environ["SUPPORT_KEY"], project="proj_support")
mail = OpenAI(api_key=environ["MAIL_KEY"])
billing = OpenAI(api_key=environ["BILLING_KEY"], project="proj_billing")
embedding = OpenAI(api_key=environ["EMBEDDING_KEY"], project="proj_embedding")
moderation = OpenAI(api_key=environ["MODERATION_KEY"], project="proj_moderation")
translation = OpenAI(api_key=environ["TRANSLATION_KEY"], project="proj_translation")
notes = chat.with_options(api_key=environ["NOTES_KEY"])
speech = AsyncOpenAI(api_key=environ["SPEECH_KEY"], project="proj_speech")
agent = AsyncOpenAI(api_key=environ["AGENT_KEY"], project="proj_agent")

MODEL = "gpt-4o-mini"
