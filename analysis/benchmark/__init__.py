"""What people would do instead of a walk, on the same data, model, start and training loop; the same rows."""
