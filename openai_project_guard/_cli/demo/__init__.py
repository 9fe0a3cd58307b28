"""The calls of `demo`, and what each comes to."""
