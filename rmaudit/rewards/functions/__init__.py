"""Rewards of Python functions: `python:module:callable`."""
