"""Training: one trainer, one file per method."""
