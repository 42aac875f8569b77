"""Oracular worlds: finite contexts and outputs with a known true reward."""
