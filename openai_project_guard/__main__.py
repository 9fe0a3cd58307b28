"""`python -m openai_project_guard`, the same as the command `openai-project-guard`."""

from __future__ import annotations

from openai_project_guard._cli import main

if __name__ == "__main__":
    raise SystemExit(main())
