"""What may be known of a key: its fingerprint, its hint, its kind. Never the key."""

from __future__ import annotations

import re
from hashlib import sha256

from openai_project_guard._errors import ConfigurationError

FINGERPRINT = re.compile(r"sha256:[0-9a-fA-F]{64}")
# A key, and neither its hint (sk-proj-…Ab3d) nor a name in lower case (sk-learn-recommendations).
RAW_KEY = re.compile(
    r"(?:sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{8}"
    r"|(?<![A-Za-z0-9])(?:(?:sk|ek)[-_]|sess-)(?=[a-z_-]*[A-Z0-9])[A-Za-z0-9_-]{16})[A-Za-z0-9_-]*"
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]+=")
_MIN_SECRET = 8  # a shorter secret would be half given away by its last four characters
_KEY_LIKE = re.compile(  # wherever it begins; a hint is left alone
    r"(?:(?<![A-Za-z0-9])(?:(?:sk|ek)[-_]|sess-)|sk-(?:proj|svcacct|admin|None)-)[\w-]+(?![\w…-])"
)
# Of a mistyped URL too; a password may have anything in it.
_USER_INFO = re.compile(r"(?<=//)\S*@|(?<=:/)(?!/)\S*:\S*@")


def digest(key: str) -> bytes:
    """SHA-256 of the key's UTF-8 bytes."""
    return sha256(key.encode(errors="surrogatepass")).digest()


def fingerprint_of(key_digest: bytes) -> str:
    """The written form of a digest, as the registry file has it."""
    return "sha256:" + key_digest.hex()


def digest_of(fingerprint: str) -> bytes:
    """The digest behind the written form."""
    return bytes.fromhex(fingerprint[7:])


def hint(key: str) -> str:
    """Prefix up to the second dash, an ellipsis, the last four characters.

    Example:
        >>> hint("sk-proj-0123456789Ab3d")
        'sk-proj-…Ab3d'
    """
    first, dash, rest = key.partition("-")
    if not dash or len(first) > 4:
        prefix, rest = "", key  # not a key of OpenAI's: a token's dashes mean nothing
    else:
        prefix = first + dash
        kind, dash, secret = rest.partition("-")
        if dash and kind.isalpha() and len(kind) <= 12:
            prefix, rest = prefix + kind + dash, secret
    return f"{prefix}…{rest[-4:] if len(rest) >= _MIN_SECRET else ''}"


def redact(text: str) -> str:
    """The text without user info, and with whatever looks like a key replaced by its hint."""
    return _KEY_LIKE.sub(lambda found: hint(found.group()), without_user_info(text))


def without_user_info(text: str) -> str:
    """The text without the user and the password of whatever looks like a URL."""
    return _USER_INFO.sub("…@", text) if "@" in text else text


def shown(value: object) -> str:
    """A value as an error message may show it."""
    return repr(redact(value)) if isinstance(value, str) else redact(repr(value))


def refuse_unfit(key: object, *beside: object) -> None:
    """Refuses what cannot be registered as a key.

    Args:
        key: the key.
        beside: what is to be kept with it as it stands: its note, its organization.

    Raises:
        ConfigurationError: it is empty, has a space or quotes around it, or is an admin key; or
            there is a key in what is kept with it.
    """
    if not isinstance(key, str):
        raise ConfigurationError(f"A key must be a string, not {type(key).__name__}.")
    problem = None
    if not key or key.isspace():
        problem = "the key is empty"
    elif key != key.strip():
        problem = "the key has white space around it (a trailing newline, perhaps)"
    elif key[0] in "\"'" or key[-1] in "\"'":
        problem = "the key has quotes around it"
    elif not (key.isascii() and key.isprintable()) or " " in key:
        problem = "the key has white space or a strange character in the middle of it"
    elif FINGERPRINT.fullmatch(key):
        problem = "this is a fingerprint, not a key; fingerprints belong in the registry file"
    elif _ASSIGNMENT.match(key):
        problem = "this is an assignment, not the key alone"
    elif key.startswith("sk-admin-"):
        problem = "an admin key belongs to the organization, not to a project"
    elif any(isinstance(text, str) and (key in text or RAW_KEY.search(text)) for text in beside):
        problem = "its note or its organization has a key in it, and a registry holds no key"
    if problem:
        raise ConfigurationError(f"This key cannot be registered: {problem}.")
