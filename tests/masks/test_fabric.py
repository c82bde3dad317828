"""Fields that are computed on fewer pixels."""

import numpy as np
import pytest

from maskhub.masks.canvas import Thinned


@pytest.mark.parametrize("width, step", [(60, 1), (150, 3), (250, 5), (5000, 15)])
@pytest.mark.parametrize("shape", [(160, 193), (47, 31), (4, 5)])
def test_a_smooth_field_survives_thinning(shape, width, step):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    field, thin = 2 * x - y, Thinned(shape, width)
    back = thin.full(thin.of(field))
    assert thin.step == step
    assert back.shape == shape
    inner = tuple(slice(step, max(side - 2 * step, step)) for side in shape)
    np.testing.assert_allclose(back[inner], field[inner], atol=1e-3)
