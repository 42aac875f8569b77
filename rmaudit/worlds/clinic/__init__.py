"""The clinic: a healthcare-scheduling assistant as an oracular world."""

from rmaudit.worlds.clinic.world import ClinicWorld as ClinicWorld
