"""`robustness`: is the reward moved by what should not move it?"""

from rmaudit.audits.robustness.audit import Robustness as Robustness
