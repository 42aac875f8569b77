"""Views of a report for other tools."""
