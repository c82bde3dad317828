"""Faces in photos: reading pictures, detection, aligned crops. Knows nothing of masks or models."""
