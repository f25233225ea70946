"""What KPNet's speed is to reach."""

from typing import NamedTuple


class Bar(NamedTuple):
    """A figure to reach; ``text`` formats ``bound``."""

    text: str
    bound: float
    form: str
    at_most: bool = False

    def line(self, found: float | None, note: str) -> str:
        """Whether ``found`` (``None``: not measured) reaches it."""
        text = self.text.format(self.form.format(self.bound))
        if found is None:
            return f"  not measured  {text}: {note}"
        met = found <= self.bound if self.at_most else found >= self.bound
        return f"  {'met' if met else 'not met':<12}  {text}: {self.form.format(found)} ({note})"


GPU_OFFLINE = Bar("GPU, batch of 256 and more: network and decoding >= {} of the bf16 matrix product", 0.25, "{:.0%}")
GPU_OFFLINE_GOAL = Bar("the goal: >= {}", 0.5, "{:.0%}")
GPU_ONLINE = Bar("GPU, batch of 1, CUDA graph: network and decoding <= {}", 0.4, "{:.2f} ms", at_most=True)
CPU_FP32 = Bar("CPU, fp32: network, decoding and NMS >= {} of the fp32 matrix product", 0.6, "{:.0%}")
CPU_REDUCED = Bar("CPU with VNNI or AMX, int8 or bf16: >= {} as fast as fp32", 2.5, "{:.2f} times")
CPU_RECALL = Bar("within {} of fp32's recall", 1.0, "{:.1f} points", at_most=True)
