"""`hacking`: what would an optimiser find that fools the model?"""

from rmaudit.audits.hacking.audit import Hacking as Hacking
