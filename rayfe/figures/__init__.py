"""Rows as figures of the paper and of the constraint, in matplotlib (`book`), and how trajectories look, also on the page (`styles`)."""
