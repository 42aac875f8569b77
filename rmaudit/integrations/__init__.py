"""rmaudit inside other people's training runs."""
