"""`overoptimization`: how hard may this reward be optimised?"""

from rmaudit.audits.overoptimization.audit import Overoptimization as Overoptimization
