"""`length`: is a longer response paid for its length?"""

from rmaudit.audits.length.audit import Length as Length
