"""Trajectories: ask/tell machines that choose what to evaluate next and say what the answers mean; no torch, Ray or IO."""
