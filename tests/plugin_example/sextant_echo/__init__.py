"""A backend that says a question backwards."""
