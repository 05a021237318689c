"""Scripts that make the embedded models from nothing but code. The bot never imports this."""
