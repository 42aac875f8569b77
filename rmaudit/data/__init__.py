"""Preference data: types, readers, validation, fingerprints."""
