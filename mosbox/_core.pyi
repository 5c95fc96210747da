"""The C core, made by cffi from core/include/mosbox.h."""

from typing import Any

ffi: Any
lib: Any
