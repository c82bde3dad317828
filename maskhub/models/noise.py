"""Normal noise with NumPy, equal to torch's on a CPU: a seed gives the same mask with and without torch."""

import math

import numpy as np

__all__ = ["Normal"]


class Normal:
    """Draws what ``torch.randn`` draws with ``torch.Generator().manual_seed(seed)``, to float rounding.

    Both generate the same bits (Matsumoto, Nishimura: "Mersenne Twister", 1998) and transform them as Box and Muller
    do ("A Note on the Generation of Random Normal Deviates", 1958).
    """

    def __init__(self, seed):
        self._bits, self._spare = np.random.MT19937(), None
        self._bits.state = np.random.RandomState(int(seed) & 0xFFFFFFFF).get_state(legacy=False)

    def __call__(self, *shape):
        """A float32 array of this shape."""
        count = math.prod(shape)
        if count < 16:  # torch draws a few numbers one by one, in double precision
            return np.array([self._one() for _ in range(count)], np.float32).reshape(shape)
        whole = count - count % 16
        out = self._uniform(count)
        out[:whole] = _box_muller(out[:whole])
        if whole < count:
            out[-16:] = _box_muller(self._uniform(16))
        return out.reshape(shape)

    def _uniform(self, count):
        return (self._bits.random_raw(count) & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)

    def _one(self):
        if self._spare is not None:
            value, self._spare = self._spare, None
            return value
        high, low, other_high, other_low = map(int, self._bits.random_raw(4))
        first, second = (((a << 32 | b) & (1 << 53) - 1) * 2.0**-53 for a, b in ((high, low), (other_high, other_low)))
        radius, angle = math.sqrt(-2 * math.log1p(-second)), 2 * math.pi * first
        self._spare = radius * math.sin(angle)
        return radius * math.cos(angle)


def _box_muller(uniform):
    """Groups of 16 numbers: eight radii and eight angles."""
    uniform = uniform.reshape(-1, 2, 8)
    radius, angle = np.sqrt(-2 * np.log(1 - uniform[:, 0])), np.float32(2 * math.pi) * uniform[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)
