"""The calls of `demo`, and what each comes to."""

from __future__ import annotations

OK = "200"
"""What a call comes to that is answered as it should be."""
