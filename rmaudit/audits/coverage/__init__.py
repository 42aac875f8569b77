"""`coverage`: how much of the deployment did the feedback cover?"""

from rmaudit.audits.coverage.audit import Coverage as Coverage
