"""`prompt`: does the reward depend on the prompt?"""

from rmaudit.audits.prompt.audit import PromptDependence as PromptDependence
