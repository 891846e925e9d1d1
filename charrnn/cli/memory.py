"""Whether torch can be loaded under a limit of address space (ulimit -v)."""

import importlib.util
import mmap
from pathlib import Path

from charrnn.errors import MemoryShortageError

# Bytes that torch and a small run take besides torch's libraries, as measured on Linux.
BESIDES = 300 * 2**20


def check_room_for_torch() -> None:
    """Raise MemoryShortageError if a limit of address space leaves too little for torch.

    Its libraries would end the process while they are loaded, without an error to catch.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    spec = importlib.util.find_spec("torch")
    if limit == resource.RLIM_INFINITY or spec is None or spec.origin is None:
        return
    libraries = (Path(spec.origin).parent / "lib").glob("*.so*")
    needed = sum(library.stat().st_size for library in libraries) + BESIDES
    try:
        mmap.mmap(-1, needed, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    except OSError as error:
        raise MemoryShortageError(
            f"torch takes {needed / 2**20:,.0f} MB of address space, more than is left of the "
            f"{limit / 2**20:,.0f} MB allowed; raise the limit (ulimit -v)"
        ) from error
