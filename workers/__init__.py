"""A job becomes an answer."""
