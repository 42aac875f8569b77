"""``python -m rmaudit``."""

from rmaudit.cli import main

main()
