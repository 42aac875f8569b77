"""The written record and its page."""
