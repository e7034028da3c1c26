"""What a GPU's failure looks like in torch, and what is told of it."""

from __future__ import annotations

import re

import torch

from vpr_ros.errors import DeviceError

FAILURE = re.compile(r'CUDA|CUDNN|cuDNN|CUBLAS|CUSOLVER|NVML|NVIDIA')  # in torch's words
FULL = 'ran out of memory'


def told(error: RuntimeError) -> str | None:
    """What befell the GPU, to be read after its name; None: no GPU is to blame for the error.

    Where the memory was not enough the GPU works on. After any other failure the process gets no
    more work out of it, and what lay in its memory is lost.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return FULL
    if FAILURE.search(str(error)):
        return f'failed: {str(error).splitlines()[0]}'
    return None


def as_error(device: torch.device, failure: str) -> DeviceError:
    """The error of a device that was asked for by name, from what is `told`."""
    if failure == FULL:
        failure = 'has not enough free memory for this model: free some, take a smaller model'
    else:
        failure = f'{failure}: start again when the GPU works (see nvidia-smi)'
    return DeviceError(f'{device} {failure}, or use device cpu or auto')
