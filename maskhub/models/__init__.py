"""Networks, one architecture per file; images are float N×C×H×W in [-1, 1]. Independent of faces and masks."""
