"""`poison`: did the model learn a planted phrase?"""

from rmaudit.audits.poison.audit import Poison as Poison
