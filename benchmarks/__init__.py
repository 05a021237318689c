"""Speed, measured beside its peers in the same run. Never part of the tests."""
