"""What a verifier accepts that is wrong, and rejects that is correct."""

from rmaudit.audits.verifier.audit import Verifier as Verifier
