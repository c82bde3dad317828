"""Networks, one architecture a file; images are float N×C×H×W in [-1, 1]. Knows nothing of faces or masks."""
