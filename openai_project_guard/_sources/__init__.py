"""Where registry entries come from: one module a source."""
