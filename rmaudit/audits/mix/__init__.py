"""`mix`: which part of a mixed reward moves the policy?"""

from rmaudit.audits.mix.audit import MixAudit as MixAudit
