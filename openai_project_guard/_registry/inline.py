"""The registry in one environment variable: `proj_a=sha256:…,proj_b=sha256:…`."""

from __future__ import annotations

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import FINGERPRINT, digest_of
from openai_project_guard._registry.model import PROJECT_ID, Place, Project, Row
from openai_project_guard._registry.registry import Registry


def read(text: str, variable: str) -> Registry:
    """The registry that the variable's value describes.

    Raises:
        RegistryError: a pair is not `project id=fingerprint`; names variable and position.
    """
    registry = Registry()
    place = Place(f"the environment variable {variable}")
    for number, pair in enumerate(text.split(","), start=1):
        name, _, fingerprint = (part.strip() for part in pair.partition("="))
        problem = None
        if not PROJECT_ID.fullmatch(name):
            problem = "what stands before '=' is not a project id (proj_ and letters, digits, _, -)"
        elif not FINGERPRINT.fullmatch(fingerprint):
            problem = "what stands after '=' is not a fingerprint (sha256: and 64 hex digits)"
        if problem:
            # Nothing of the value is shown: it may be a raw key in the wrong place.
            raise RegistryError(
                f"{variable}: pair {number} cannot be read: {problem}. "
                "Expected proj_a=sha256:…,proj_b=sha256:… "
                'A fingerprint is the SHA-256 of the key: printf %s "$KEY" | sha256sum'
            )
        project = Project(name, place)
        registry.snapshot.add_project(project)
        registry.snapshot.add_key(digest_of(fingerprint), Row(project, ""))
    return registry
