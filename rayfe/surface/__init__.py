"""The mathematics of the equilibrium surface: pure functions of numbers."""
