"""Which device to compute on, and with how many threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from charrnn.errors import DeviceError


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of a name: cpu, cuda, cuda:1, mps; auto takes the first accelerator.

    Raises DeviceError where this machine or this build of torch lacks it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise _unavailable(name) from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise _unavailable(name)
    return device


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Set the number of torch's CPU threads for a while; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _unavailable(name: str) -> DeviceError:
    return DeviceError(
        f"--device {name}: not available with torch {torch.__version__} on this machine; "
        "use --device cpu or auto"
    )
