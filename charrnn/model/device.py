"""Which device to compute on, and with how many threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from charrnn.errors import DeviceError, shortened
from charrnn.settings import check_threads

SMALL = 64  # units below which converting costs more than the faster products save


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of a name: cpu, cuda, cuda:1, mps; auto is the first accelerator.

    Raises DeviceError if this machine or this build of torch lacks it.
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


def resolve_precision(name: str, device: torch.device, hidden_size: int) -> torch.dtype:
    """Return the number format of products: float32, bfloat16, or for auto the faster of the two.

    That is bfloat16 if the hardware has it and the layers are not small: AVX512-BF16, AMX, and CUDA
    from compute capability 8 on. If torch does not say what the CPU has, it is float32.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        native = device.type == "cpu" and bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return torch.bfloat16 if native and hidden_size >= SMALL else torch.float32


def precision_name(precision: torch.dtype) -> str:
    """Return the name of a number format: float32 or bfloat16."""
    return str(precision).removeprefix("torch.")


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Set the number of torch's CPU threads within the context; None leaves it as it is.

    Raises SettingsError for a number out of bounds.
    """
    check_threads(threads)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _unavailable(name: str) -> DeviceError:
    return DeviceError(
        f"`device={shortened(name)}`: not available with torch {torch.__version__} on this "
        "machine; use `device=cpu` or `device=auto`"
    )
