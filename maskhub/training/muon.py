"""Muon: momentum whose update of each kernel is orthogonalised.

Jordan, Jin, Boza, You, Cesista, Newhouse, Bernstein: "Muon: An optimizer for hidden layers in neural networks" (2024,
https://kellerjordan.github.io/posts/muon/); scaled to Adam's step as by Liu et al. ("Muon is Scalable for LLM
Training", arXiv 2502.16982), so that both optimizers use the same learning rates. ``torch.optim.Muon`` only supports
matrices; here a convolution kernel counts as a matrix of output channels × everything else. Other parameters use Adam.
"""

import torch

__all__ = ["Muon", "orthogonal"]

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial that brings all singular values near 1, quickly rather than exactly."""
ITERATIONS = 5
ADAM_RMS = 0.2
"""Typical root mean square of Adam's step, in units of the learning rate."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, for kernels (two or more dimensions); Adam for gains and biases.

    ``lr`` is the learning rate for both, as for Adam; ``betas`` and ``eps`` are Adam's.
    """

    def __init__(self, parameters, lr=1e-3, momentum=0.95, betas=(0.9, 0.999), eps=1e-8):
        kernels, others = [], []
        for parameter in parameters:
            (kernels if _is_kernel(parameter) else others).append(parameter)
        groups = [{"params": kernels, "kernels": True}, {"params": others, "kernels": False}]
        super().__init__(
            [group for group in groups if group["params"]],
            {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps},
        )

    @torch.no_grad()
    def step(self, closure=None):
        """Update every parameter that has a gradient; returns the closure's loss, if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._orthogonally if group["kernels"] else self._by_adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, self.state[parameter], group)
        return loss

    def _orthogonally(self, parameter, state, group):
        gradient, rate = parameter.grad, group["momentum"]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - rate)
        ahead = gradient.lerp(state["momentum"], rate).flatten(1)
        scale = ADAM_RMS * max(ahead.shape) ** 0.5
        parameter.add_(orthogonal(ahead).view(parameter.shape), alpha=-group["lr"] * scale)

    def _by_adam(self, parameter, state, group):
        gradient, (first, second) = parameter.grad, group["betas"]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        steps = float(state["step"])
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        spread = (state["exp_avg_sq"] / (1 - second**steps)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(state["exp_avg"], spread, value=-group["lr"] / (1 - first**steps))


def orthogonal(matrix):
    """The nearest matrix whose singular values are about 1, N×M, by five Newton-Schulz steps."""
    a, b, c = QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.float().T if tall else matrix.float()
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)


def _is_kernel(parameter):
    # a kernel with one row or one column can't be orthogonalised
    return parameter.ndim >= 2 and min(parameter.shape[0], parameter[0].numel()) > 1
