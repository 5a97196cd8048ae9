"""A GPU that is none: tensors that compute on the CPU and say that they are on a GPU.

What runs on them takes the paths for GPUs, mixed precision included. A tensor that a step forgot on
the CPU is refused, as a GPU would, and what the host would have to wait for is noted. Triton's
kernels and CUDA graphs do not run, nor do derivatives; PyTorch must be built without CUDA, where it
would choose kernels for a GPU by itself.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

GPU = torch.device("cuda", 0)
# Where c10 has what switches between devices of a type: its table, and two of its places.
GUARDS, PLACES = "_ZN3c104impl26device_guard_impl_registryE", 21
CUDA, LAZY = 1, 17
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")


def waits(function: Any, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Return whether an operation on a GPU's tensors asks the GPU for values."""
    name = function.overloadpacket.__name__
    if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal") or "unique" in name:
        return True
    if name in INDEXING:
        return any(x is not None and x.dtype == torch.bool for x in args[1])
    # Sizes have to be added up.
    return name == "repeat_interleave" and kwargs.get("output_size") is None


class RefuseToWait(TorchDispatchMode):
    """Refuses, on a CPU, what would ask a GPU for values or bring new ones to it; derivatives too.

    Such a step cannot be captured.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Look at an operation."""
        kwargs = kwargs or {}
        if function.overloadpacket.__name__ == "lift_fresh" or waits(function, args, kwargs):
            raise AssertionError(f"{function} waits")
        return function(*args, **kwargs)


class OnGpu(Tensor):
    """A tensor that says that it is on a GPU; only for operations within `PretendedGpu`."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnGpu":
        """Wrap a tensor on the CPU."""
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=GPU
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        """Refuse: it would not be seen."""
        raise AssertionError(f"{function} outside of PretendedGpu")

    def tolist(self) -> Any:
        """Return the values."""
        return self.cpu().tolist()


class PretendedGpu(TorchDispatchMode):
    """Computes with such tensors, and with those of the CPU as always.

    Attributes
    ----------
    noted
        What the host would have waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Do an operation where its tensors, or its argument, say."""
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        if name == "lift_fresh":
            return args[0]
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        own = [x for x in tensors if isinstance(x, OnGpu)]
        device = kwargs.get("device")
        on_gpu = bool(own) if device is None else torch.device(device).type == "cuda"
        if name in ("_to_copy", "copy_"):
            source = args[0] if name == "_to_copy" else args[1]
            on_gpu = on_gpu if name == "_to_copy" else isinstance(args[0], OnGpu)
            if isinstance(source, OnGpu) != on_gpu:
                self.noted.append(f"{function} between host and device")
        elif own:
            for x in tensors:
                if isinstance(x, OnGpu):
                    continue
                if name in INDEXING:
                    self.noted.append(f"{function} with what is on the host")
                elif x.ndim:
                    shapes = [(type(x).__name__, tuple(x.shape)) for x in tensors]
                    raise RuntimeError(f"{function}: tensors on two devices, {shapes}")
            if waits(function, args, kwargs):
                self.noted.append(str(function))
        if on_gpu and kwargs.get("generator") is not None:
            raise RuntimeError(f"{function}: a generator of the CPU for a GPU")
        for key, value in (("device", torch.device("cpu")), ("pin_memory", False)):
            if kwargs.get(key) is not None:
                kwargs = {**kwargs, key: value}
        plain = pytree.tree_map_only(OnGpu, lambda x: x.held, (args, kwargs))
        result = function(*plain[0], **plain[1])
        if not on_gpu:
            return result
        # What was changed in place is returned as it is.
        same = {id(x.held): x for x in own}
        return pytree.tree_map_only(
            Tensor, lambda x: same[id(x)] if id(x) in same else OnGpu(x), result
        )

    def __enter__(self) -> "PretendedGpu":
        """Let factories ask for a GPU."""
        _let_switch_to_gpus()
        self._before = torch.cuda._lazy_init, torch._C._only_lift_cpu_tensors()
        torch.cuda._lazy_init = lambda: None
        # New values are made on the CPU and copied, which is seen.
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        """Leave all as it was."""
        super().__exit__(*error)
        torch.cuda._lazy_init = self._before[0]
        torch._C._set_only_lift_cpu_tensors(self._before[1])


def _let_switch_to_gpus() -> None:
    """Have PyTorch, built without CUDA, switch to a GPU by doing nothing."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * PLACES).in_dll(library, GUARDS)
    if not guards[CUDA]:
        # One that counts no devices: for such a one PyTorch puts one that does nothing.
        guards[CUDA] = guards[LAZY]
        torch._C._ensureCUDADeviceGuardSet()


def to_gpu(module: nn.Module) -> nn.Module:
    """Move a module's parameters and buffers, and nothing else that it may hold."""
    for part in module.modules():
        for name, x in part._parameters.items():
            if x is not None:
                part._parameters[name] = nn.Parameter(OnGpu(x.detach()), requires_grad=False)
        for name, x in part._buffers.items():
            if x is not None:
                part._buffers[name] = OnGpu(x)
    return module


@contextmanager
def mixed_precision() -> Iterator[None]:
    """Compute in 16 bits on the GPU, which `torch.autocast` would miss."""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()
