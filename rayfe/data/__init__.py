"""Training and validation examples: data sets, paths between them, and the order in which they are visited."""
