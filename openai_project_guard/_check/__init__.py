"""What happens to one call, in the order in which it happens."""
