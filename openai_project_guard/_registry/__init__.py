"""Who a key belongs to: the registry in memory, and the sources that keep it up to date."""
