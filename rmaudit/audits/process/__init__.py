"""`process`: does a reward of steps find the first wrong one, and what does it pay for?"""

from rmaudit.audits.process.audit import ProcessAudit as ProcessAudit
