"""`style`: is a response paid for how it looks and sounds?"""

from rmaudit.audits.style.audit import StyleAudit as StyleAudit
