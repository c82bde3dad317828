"""Whole photos in, whole photos out."""
