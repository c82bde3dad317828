"""Training and evaluation data: one source spec for folders and Hub datasets, and what is drawn from them."""
