"""How good is it: feature networks, distances, figures of pairs, and the report of them all."""
