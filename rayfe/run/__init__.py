"""A job from its configuration to rows, figures and page; Python's entry."""
