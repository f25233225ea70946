"""How much of what the machine can do does a detector reach, and where does the rest go?

    python benchmarks/throughput.py cpu --images DIR --fddb FOLDS --calibration OTHER --model kpnet-drnet
    python benchmarks/throughput.py cpu --images DIR --untrained drnet  # KPNet with random weights
    python benchmarks/throughput.py gpu --images DIR --model kpnet.safetensors

DIR holds photographs; FOLDS are FDDB's ellipse lists, where these are its photographs, and for the recall of reduced
precisions; OTHER holds those that calibrate int8. Limits are measured in the same run and turn by turn with what is
compared with them: a large matrix product in the same precision (the best of several libraries), and copying memory.
What is printed are medians over the rounds of ratios taken within a round. On one CPU thread the clock is the
process's CPU time. At the end stand the bars that KPNet is to pass.
Needs facesmith[export]; measures OpenVINO too where facesmith[openvino] is installed.
"""

from typing import Annotated

import tyro

from facesmith.errors import FacesmithError
from throughput_cpu import Cpu
from throughput_gpu import Gpu

Throughput = Annotated[Cpu, tyro.conf.subcommand("cpu")] | Annotated[Gpu, tyro.conf.subcommand("gpu")]

if __name__ == "__main__":
    try:
        raise SystemExit(tyro.cli(Throughput, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,)).run())
    except FacesmithError as error:
        raise SystemExit(str(error)) from error
