"""Files name data: what a file may not decide, and who allowed what.

The command line, or the Python call, is the user's own word. Whatever a file names (settings, a
report, ``ensemble.json``, a mix) may come from elsewhere, so it names data only: it cannot have
code run, pickles opened or secrets sent unless this command line says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rmaudit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Permissions:
    """What this command line allows, and which file, if any, names what is about to be loaded.

    Parameters
    ----------
    trust_remote_code
        Code that comes with a model's files may run.
    allow_pickle
        Pickled weights, which can run code, may be opened.
    trust_code
        ``python:`` models that only a file names may be imported.
    named_by
        The file that names the model; None: the command line or the Python call does.
    around
        Folders of the ensembles that the model is part of, the outermost first.
    """

    trust_remote_code: bool = False
    allow_pickle: bool = False
    trust_code: bool = False
    named_by: str | None = None
    around: tuple[Path, ...] = ()

    def within(self, file: object, folder: Path | None = None) -> Permissions:
        """The permissions of what `file` names; `folder` is the model's that it makes up."""
        around = self.around if folder is None else (*self.around, folder)
        return replace(self, named_by=str(file), around=around)

    def require_code(self, spec: str) -> None:
        """Refuse to run code that only a file names.

        Raises
        ------
        UsageError
            Naming the file, what it would run, and the flag.
        """
        if self.named_by is not None and not self.trust_code:
            raise UsageError(
                f"{self.named_by} names {spec}, which runs code of this machine; files name data: "
                "say --trust-code (trust_code=True) if you trust it, or name the model yourself"
            )

    def require_secret(self, address: str, variable: str | None) -> None:
        """Refuse to send a secret to a server that only a mix or an ensemble names.

        The command line's ``--api-key-env`` is meant for a server that it, or its settings file,
        names; a part of a model that came from elsewhere may be another's.

        Raises
        ------
        UsageError
            Naming the file, the server and the flag.
        """
        if variable is not None and self.around and not self.trust_code:
            raise UsageError(
                f"{self.named_by} names {address}, which would be sent the secret in {variable}; "
                "say --trust-code (trust_code=True) if you trust the file"
            )
