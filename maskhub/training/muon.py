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

    def __init__(self, parameters, lr=1e-3, momentum=0.95, betas=(0.9, 0.999), eps=1e-8, capturable=False):
        kernels, others = [], []
        for parameter in parameters:
            (kernels if _is_kernel(parameter) else others).append(parameter)
        groups = [{"params": kernels, "kernels": True}, {"params": others, "kernels": False}]
        super().__init__(
            [group for group in groups if group["params"]],
            {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps, "capturable": capturable},
        )

    @torch.no_grad()
    def step(self, closure=None):
        """Update every parameter that has a gradient; returns the closure's loss, if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                (self._orthogonally if group["kernels"] else self._by_adam)(parameters, group)
        return loss

    def _orthogonally(self, parameters, group):
        gradients, states = [p.grad for p in parameters], [self.state[p] for p in parameters]
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
        momenta = [state["momentum"] for state in states]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = [x.flatten(1) for x in torch._foreach_lerp(gradients, momenta, group["momentum"])]
        for places in _alike(ahead):
            made = orthogonal(torch.stack([ahead[place] for place in places]) if len(places) > 1 else ahead[places[0]])
            scale = group["lr"] * ADAM_RMS * max(made.shape[-2:]) ** 0.5
            for place, update in zip(places, made if len(places) > 1 else [made], strict=True):
                _add(parameters[place], update.view(parameters[place].shape), -scale)

    def _by_adam(self, parameters, group):
        gradients, states = [p.grad for p in parameters], [self.state[p] for p in parameters]
        first, second = group["betas"]
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                where = parameter.device if group.get("capturable") else "cpu"
                state["step"] = torch.zeros((), dtype=torch.float32, device=where)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        averages, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(averages, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - second)
        for parameter, average, square, step in zip(parameters, averages, squares, steps, strict=True):
            done = step if group.get("capturable") else float(step)
            spread = (square / (1 - second**done)).sqrt_().add_(group["eps"])
            rate = -group["lr"] / (1 - first**done)
            if torch.is_tensor(rate):
                parameter.addcdiv_(average * rate, spread)
            else:
                parameter.addcdiv_(average, spread, value=rate)


def orthogonal(matrix):
    """The nearest matrix whose singular values are about 1, by five Newton-Schulz steps; N×M, or K×N×M."""
    a, b, c = QUINTIC
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.float().mT if tall else matrix.float()
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).to(matrix.dtype)


def _alike(matrices):
    """The places of the matrices that are orthogonalised together: those of one shape on a GPU, each alone on a CPU."""
    if matrices[0].device.type == "cpu":
        return [[place] for place in range(len(matrices))]
    places = {}
    for place, matrix in enumerate(matrices):
        places.setdefault(matrix.shape, []).append(place)
    return list(places.values())


def _add(parameter, update, scale):
    """Add ``scale`` × ``update``; the scale is a number, or a tensor on the parameter's device."""
    if torch.is_tensor(scale):
        parameter.add_(update * scale)
    else:
        parameter.add_(update, alpha=scale)


def _is_kernel(parameter):
    # a kernel with one row or one column can't be orthogonalised
    return parameter.ndim >= 2 and min(parameter.shape[0], parameter[0].numel()) > 1
