"""What people bring and train: their datasets, jobs and models in one folder; no web page needed."""
