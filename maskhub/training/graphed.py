"""A training step recorded once as a CUDA graph and then replayed, which saves the time of launching its kernels.

With small networks, the CPU takes longer to launch a step's thousands of kernels than the GPU takes to run them.
"""

import torch

__all__ = ["GraphedStep"]

WARM_UP = 3
"""Steps that run as usual before the recording, so that libraries have chosen their algorithms."""


class GraphedStep:
    """Replays the step ``updates``, a function of nested lists of batches that returns a dict of scalars.

    The step must not wait for the GPU, nor read random numbers of the CPU, and every batch must have the same shapes.
    Whatever it reads from Python, such as the weight of a loss, is recorded with it.
    """

    def __init__(self, updates):
        self._updates, self._stream = updates, torch.cuda.Stream()
        self._steps, self._graph, self._given, self._terms = 0, None, None, None

    def __call__(self, given):
        if self._graph is None and self._steps < WARM_UP:
            self._steps += 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                terms = self._updates(given)
            torch.cuda.current_stream().wait_stream(self._stream)
            return terms
        if self._graph is None:
            self._record(given)
        for mine, theirs in zip(_tensors(self._given), _tensors(given), strict=True):
            mine.copy_(theirs, non_blocking=True)
        self._graph.replay()
        return self._terms

    def _record(self, given):
        self._given = [[{name: x.clone() for name, x in batch.items()} for batch in turn] for turn in given]
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        # the loader's thread may pin memory meanwhile; only this thread may not
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            self._terms = self._updates(self._given)


def _tensors(given):
    return [x for turn in given for batch in turn for x in batch.values()]
