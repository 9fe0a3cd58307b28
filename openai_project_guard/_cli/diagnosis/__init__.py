"""What `check` and `doctor` find out, and how they show it."""
