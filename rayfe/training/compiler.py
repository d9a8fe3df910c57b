"""The C++ compiler that torch.compile calls on a CPU."""

from __future__ import annotations

import os
import shutil


def compiler() -> str | None:
    """Its path: the one that CXX names, g++ or clang++; None where there is none."""
    return next((found for name in (os.environ.get("CXX"), "g++", "clang++") if name and (found := shutil.which(name))), None)
