"""The processor that kernels are compiled for: a level of x86-64, not one machine, so that their code serves others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from llvmlite import binding

# Full registers of AVX-512: by default LLVM would use half of each.
LEVELS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("x86-64-v4", "-prefer-256-bit"): ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    ("x86-64-v3", ""): ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
}


@dataclass(frozen=True, slots=True)
class Target:
    """A processor in LLVM's words."""

    triple: str
    cpu: str
    features: str

    @property
    def is_of_host(self) -> bool:
        """Whether this machine can run the code: another would end at the first instruction that it lacks.

        Of other processors than the levels it is known only that this machine is itself.
        """
        host = binding.get_host_cpu_features()
        needs = LEVELS.get((self.cpu, self.features))
        if needs is None:
            return (self.cpu, self.features) == (binding.get_host_cpu_name(), host.flatten())
        return all(host.get(feature) for feature in needs)

    def make_machine(self) -> binding.TargetMachine:
        """What LLVM emits code by, with the options that numba has."""
        target = binding.Target.from_triple(self.triple)
        return target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=3, reloc="default", codemodel="jitdefault", jit=True
        )


@cache
def choose_target() -> Target:
    """The best level that this machine has, else the machine itself; NUMBA_CPU_NAME and NUMBA_CPU_FEATURES go first."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    cpu, features = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
    triple, host = binding.get_process_triple(), binding.get_host_cpu_features()
    if cpu is None and features is None:
        for level, needs in LEVELS.items():
            if all(host.get(feature) for feature in needs):
                return Target(triple, *level)
    return Target(triple, cpu or binding.get_host_cpu_name(), host.flatten() if features is None else features)
