"""The owner's page: whether the bot is well, and its metrics."""
