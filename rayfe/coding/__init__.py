"""Nats as bits: codes of z with loss, and of images without."""
