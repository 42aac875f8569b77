"""`judge`: does a judge answer by what it reads, or by order, chance and empty phrases?"""

from rmaudit.audits.judge.audit import Judge as Judge
