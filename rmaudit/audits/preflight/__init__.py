"""`preflight`: is the reward that is measured the model's reward?"""

from rmaudit.audits.preflight.audit import Preflight as Preflight
