"""`data`: what is wrong with the preferences, before any model is asked?"""

from rmaudit.audits.data.audit import Data as Data
