"""Evaluation: feature networks, distances, measures and reports."""
