"""What the processor says it can do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

CPUINFO = Path('/proc/cpuinfo')
BF16 = ('amx_bf16', 'avx512_bf16', 'bf16')  # Intel, Intel and AMD, Arm
INT8 = ('amx_int8', 'avx512_vnni', 'avx_vnni', 'i8mm')
FP16 = ('amx_fp16', 'avx512_fp16', 'asimdhp')


@cache
def features() -> frozenset[str]:
    """Instruction set features of this machine's processor by the names that Linux gives them."""
    try:
        lines = CPUINFO.read_text(encoding='utf-8').splitlines()
    except OSError:
        return frozenset()
    return parse(lines)


def parse(lines: list[str]) -> frozenset[str]:
    """Features named in the lines of /proc/cpuinfo, of x86 (`flags`) or Arm (`Features`)."""
    for line in lines:
        key, _, value = line.partition(':')
        if key.strip().lower() in {'flags', 'features'}:
            return frozenset(value.split())
    return frozenset()


def first_of(wanted: tuple[str, ...]) -> str:
    """The first of the features that this processor has, or nothing."""
    return next((name for name in wanted if name in features()), '')


def float_precision(precision: str) -> str:
    """Precision of what is not in 8 bits, where a network is in `precision`."""
    if precision != 'int8':
        return precision
    return 'bf16' if first_of(BF16) else 'fp32'
