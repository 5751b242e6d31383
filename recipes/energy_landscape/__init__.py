"""What each loss of energy-based learning makes of an energy surface, where one can see all of it."""
