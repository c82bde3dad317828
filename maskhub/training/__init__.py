"""Training: one shared loop, one file a method."""
