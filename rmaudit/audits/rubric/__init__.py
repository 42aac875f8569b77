"""`rubric`: which criteria of a rubric carry the reward, and which can be relied on?"""

from rmaudit.audits.rubric.audit import RubricAudit as RubricAudit
