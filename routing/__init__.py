"""Which targets, in which order, at what price."""
