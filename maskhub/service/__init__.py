"""Users' datasets, training jobs and models in one folder, independent of the web app."""
