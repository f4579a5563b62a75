"""Environment variables that change thread pools, allocators or kernels, free of personal data."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

NAMES = frozenset(
    {
        "ATEN_CPU_CAPABILITY",
        "CUBLAS_WORKSPACE_CONFIG",
        "CUDA_DEVICE_ORDER",
        "CUDA_MODULE_LOADING",
        "GLIBC_TUNABLES",
        "GOMP_CPU_AFFINITY",
        "KMP_AFFINITY",
        "KMP_HW_SUBSET",
        "KMP_LIBRARY",
        "MKL_CBWR",
        "MKL_ENABLE_INSTRUCTIONS",
        "MKL_THREADING_LAYER",
        "OMP_PLACES",
        "OMP_PROC_BIND",
        "OMP_SCHEDULE",
        "OMP_STACKSIZE",
        "OMP_WAIT_POLICY",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "ONEDNN_MAX_CPU_ISA",
        "OPENBLAS_CORETYPE",
        "PYTHONMALLOC",
        "PYTORCH_ALLOC_CONF",
        "PYTORCH_CUDA_ALLOC_CONF",
    }
)
"""Variables whose value is a word of the library that reads it."""

_FAMILIES = re.compile(
    r"(ATEN|BLIS|CUDA|CUDNN|DNNL|GGML|GOMP|KMP|MALLOC|MKL|NUMEXPR|NVIDIA|OMP|ONEDNN|OPENBLAS|"
    r"TOKENIZERS|TORCH|TORCHINDUCTOR|TORCHDYNAMO|PYTORCH)_\w+"
)
_PLAIN = re.compile(r"[0-9]+(?:[.,][0-9]+)*[kKmMgGsS]?|true|false|on|off|yes|no", re.IGNORECASE)
_WORDS = re.compile(r"[\w.,:;=+(){}*-]{1,120}")
_PRELOAD = "LD_PRELOAD"
_DEVICES = "CUDA_VISIBLE_DEVICES"


def variables(environ: Mapping[str, str] = os.environ) -> dict[str, bool | int | str]:
    """Return what is set, sorted by name.

    A value that is neither a number, a switch nor a word of a library could name a place or a
    person: of it only ``True`` is kept, for "set". ``CUDA_VISIBLE_DEVICES`` gives their number.
    """
    found: dict[str, bool | int | str] = {}
    for name, value in sorted(environ.items()):
        if name == _DEVICES:
            found[name] = len([device for device in value.split(",") if device.strip()])
        elif name == _PRELOAD:
            found[name] = value.strip() != ""
        elif name in NAMES or _FAMILIES.fullmatch(name):
            allowed = _WORDS if name in NAMES else _PLAIN
            found[name] = value if allowed.fullmatch(value) else True
    return found
