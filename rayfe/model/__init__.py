"""Encoders, decoders and classifiers, and the functionals R, D, C of their representation."""
