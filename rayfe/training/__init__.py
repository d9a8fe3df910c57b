"""Training to equilibrium, settling and measuring: torch, no IO."""
