"""`preference`: does the model rank as annotators do?"""

from rmaudit.audits.preference.audit import Preference as Preference
