"""`annotators`: whose preferences does the reward follow?"""

from rmaudit.audits.annotators.audit import Annotators as Annotators
