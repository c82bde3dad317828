"""Faces in photos: reading pictures, detection, aligned crops. Independent of masks and models."""
