"""`generalization`: how far does the model err outside the feedback's support?"""

from rmaudit.audits.generalization.audit import Generalization as Generalization
