"""`policy`: what did the optimiser do to the policy?"""

from rmaudit.audits.policy.audit import Policy as Policy
