"""`calibration`: does sigmoid(margin) mean what it says?"""

from rmaudit.audits.calibration.audit import Calibration as Calibration
