"""Training: one trainer, one file per method."""

from maskhub.extras import require

require("torch")
require("train")
