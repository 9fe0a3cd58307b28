"""The registry file: reading, watching and editing it."""
