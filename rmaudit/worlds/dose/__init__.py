"""The dose world: a finite world designed so that gold rises and then falls."""

from rmaudit.worlds.dose.world import DoseWorld as DoseWorld
from rmaudit.worlds.dose.world import Pairs as Pairs
