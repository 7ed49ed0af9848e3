"""What every GPU kernel costs as machine code, without a GPU: python benchmarks/gpu_static.py [--targets sm_90 gfx942].

Training steps on a tiny scene run in Triton's interpreter; each kernel they launch is then compiled for each target as
it was launched: same types, same constants, same warps. Registers, stack, shared memory and instructions are read from
the machine code and held to budgets: exit code 1 when one is broken.
"""

import argparse
import importlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from gpu_machine_code import Cost, cost_amd, cost_nvidia

TARGETS = ("sm_75", "sm_80", "sm_90", "sm_100", "gfx90a", "gfx942", "gfx1100", "gfx1201")
MOST_STACK = 0  # bytes per thread; a register that goes to memory and back costs more than all it saves
MOST_SPILLS = 0
MOST_PARKED = 16  # two instructions each, on AMD, where a kernel has more arguments than scalar registers
# Instructions of one visit of a Gaussian to the pixels of a warp (columns, rows), on NVIDIA: three colors, nine sums.
PER_VISIT = {
    "blend._forward": {(16, 8): 80},
    "blend_backward._backward": {(16, 8): 210, (16, 16): 335},
}
# what depth and the probe of absolute gradients may add: a color more, a sum more, two sums more
MORE_FOR_DEPTH = {"blend._forward": {(16, 8): 6}, "blend_backward._backward": {(16, 8): 15, (16, 16): 30}}
MORE_FOR_ABSOLUTE = {"blend_backward._backward": {(16, 8): 40, (16, 16): 50}}


@dataclass(frozen=True)
class Row:
    """One kernel on one target."""

    kernel: str
    variant: str
    target: str
    cost: Cost | None
    per_visit: float = 0.0
    most_per_visit: float = 0.0
    error: str = ""

    def broken(self) -> str:
        """Which budget is broken, or nothing."""
        if self.cost is None:
            return f"does not compile: {self.error}"
        if self.cost.stack > MOST_STACK:
            return f"stack of {self.cost.stack} bytes, at most {MOST_STACK}"
        if self.cost.spills > MOST_SPILLS:
            return f"{self.cost.spills} spills, at most {MOST_SPILLS}"
        if self.cost.parked > MOST_PARKED:
            return f"{self.cost.parked} scalar registers parked in vector registers, at most {MOST_PARKED}"
        if math.isnan(self.per_visit):
            return "its visits cannot be counted, or have no budget"
        if self.per_visit > self.most_per_visit:
            return f"{self.per_visit:.0f} instructions per visit, at most {self.most_per_visit:.0f}"
        return ""


def triton_target(target: str) -> tuple[str, int | str, int]:
    """Backend, architecture and threads of a warp, as Triton calls them."""
    if target.startswith("sm_"):
        return "cuda", int(target.removeprefix("sm_")), 32
    return "hip", target, 64 if target.startswith("gfx9") else 32


def record(file: Path, few: bool) -> None:
    """Write the launches of small training steps to `file`, by another Python that interprets kernels."""
    command = [sys.executable, str(Path(__file__).with_name("gpu_launches.py")), str(file), *(["--few"] * few)]
    subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, check=True)


def build(launch: dict[str, Any], target: str) -> Any:
    """Compile one launch for one target, as Triton would there."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    backend, architecture, lanes = triton_target(target)
    kernel = getattr(importlib.import_module(launch["module"]), launch["name"])
    signature: dict[str, Any] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for place, parameter in enumerate(kernel.params):
        given = launch["arguments"].get(parameter.name, {"constant": parameter.default})
        if parameter.name == "PTX":
            given = {"constant": backend == "cuda"}
        specialize = not parameter.do_not_specialize
        signature[parameter.name] = _argument(given, (place,), specialize, backend, constants, attributes)
    options = {"num_warps": launch["options"].get("warps", 4), "enable_fp_fusion": True}
    options |= {name: value for name, value in launch["options"].items() if name != "warps"}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=GPUTarget(backend, architecture, lanes), options=options)


def _argument(
    given: dict[str, Any],
    place: tuple[int, ...],
    specialize: bool,
    backend: str,
    constants: dict[tuple[int, ...], Any],
    attributes: dict[tuple[int, ...], Any],
) -> Any:
    """The type of an argument in Triton's words; what is known of its value goes to constants and attributes."""
    if "tuple" in given:
        parts = [
            _argument(part, (*place, i), specialize, backend, constants, attributes)
            for i, part in enumerate(given["tuple"])
        ]
        if not given["class"]:
            return tuple(parts)
        module, name = given["class"].split(":")
        return getattr(importlib.import_module(module), name)(*parts)
    if "constant" in given or (specialize and given.get("one")):
        constants[place] = given.get("constant", 1)
        return "constexpr"
    if specialize and given.get("aligned"):
        attributes[place] = [["tt.divisibility", 16]]
        if "pointer" in given and backend == "hip":  # true of tensors below 2 GiB
            attributes[place].append(["tt.pointer_range", 32])
    return f"*{given['pointer']}" if "pointer" in given else given.get("integer") or given["scalar"]


def measure(launch: dict[str, Any], target: str) -> Cost | str:
    """Compile one launch for one target and read what it costs, or say why that failed."""
    import triton

    try:
        with _errors() as errors:
            compiled = build(launch, target)
    except Exception as error:  # Triton raises anything; the table shall name them all
        return f"{type(error).__name__}: {str(error).strip()[-300:]}"
    if errors:
        return f"{errors[0]} ({len(errors)} such lines)"
    if triton_target(target)[0] == "cuda":
        tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
        return cost_nvidia(compiled.asm["cubin"], compiled.metadata.shared, tools)
    return cost_amd(compiled.asm["amdgcn"], compiled.metadata.shared)


@contextmanager
def _errors() -> Iterator[list[str]]:
    """What native code writes to this process's standard error: LLVM complains of assembly there, and goes on."""
    errors: list[str] = []
    before = os.dup(2)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield errors
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            errors.extend(line.strip() for line in file if line.startswith("error:"))


def _visits(launch: dict[str, Any], cost: Cost, target: str) -> tuple[float, float]:
    """Instructions of one visit of a Gaussian to a warp's pixels, and the most it may take; zeros: it visits none.

    There is one exponential per pixel and visit. On AMD any number is fine.
    """
    kernel = _name(launch)
    if kernel not in PER_VISIT and not (kernel.startswith("blend") and cost.per_exp2):
        return 0, 0
    backend, _, lanes = triton_target(target)
    size = (_constant(launch, "TILE"), _constant(launch, "ROWS"))

    def of(budgets: dict[str, dict[tuple[int, int], int]]) -> int:
        return budgets.get(kernel, {}).get(size, 0)

    most = of(PER_VISIT)
    if not most or not cost.per_exp2:
        return math.nan, math.nan  # renamed or written anew: this script must learn to count it
    most += of(MORE_FOR_DEPTH) * bool(_constant(launch, "DEPTH"))
    most += of(MORE_FOR_ABSOLUTE) * bool(_constant(launch, "ABSOLUTE"))
    return cost.per_exp2 * math.prod(size) / lanes, most if backend == "cuda" else math.inf


def _name(launch: dict[str, Any]) -> str:
    return f"{launch['module'].rpartition('.')[2]}.{launch['name']}"


def _constant(launch: dict[str, Any], name: str) -> Any:
    return launch["arguments"].get(name, {}).get("constant")


def judge(launch: dict[str, Any], target: str, result: Cost | str) -> Row:
    """The row of the table for what was measured."""
    constants = [
        f"{name}={given['constant']}"
        for name, given in launch["arguments"].items()
        if "constant" in given and name != "PTX"
    ]
    options = [f"{name}={value}" for name, value in launch["options"].items()]
    names = _name(launch), ", ".join([*constants, *options])
    if isinstance(result, str):
        return Row(*names, target, None, error=result)
    return Row(*names, target, result, *_visits(launch, result, target))


def compile_all(launches: Sequence[dict[str, Any]], targets: Sequence[str], processes: int) -> Iterator[Row]:
    """A row for each launch and target, those of one launch together."""
    jobs = [(launch, target) for launch in launches for target in targets]
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(measure, *job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            try:
                result = future.result()
            except BrokenProcessPool:  # some job took its process along: this one, or another
                result = _alone(*job)
            yield judge(*job, result)


def _alone(launch: dict[str, Any], target: str) -> Cost | str:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, launch, target).result()
        except BrokenProcessPool:
            return "the compiler crashed"


def show(rows: Iterable[Row]) -> bool:
    """Print a table for each kernel and variant as they come, and at the end what is broken; whether nothing is."""
    shown: list[Row] = []
    for row in rows:
        if not shown or (shown[-1].kernel, shown[-1].variant) != (row.kernel, row.variant):
            print(f"\n{row.kernel} ({row.variant})")
            print("| target | registers | stack | spills | parked | shared | instructions | per visit | budget | |")
            print("|---" * 10 + "|")
        print(_line(row), flush=True)
        shown.append(row)
    broken = [row for row in shown if row.broken()]
    kernels = len({row.kernel for row in shown})
    print(f"\n{kernels} kernels, {len(shown)} compilations: {len(broken)} break a budget")
    for row in broken:
        print(f"{row.kernel} ({row.variant}) on {row.target}: {row.broken()}")
    return not broken


def _line(row: Row) -> str:
    verdict = "BROKEN" if row.broken() else "ok"
    if row.cost is None:
        return f"| {row.target} | | | | | | | | | {verdict} |"
    visit = f"{row.per_visit:.0f}" if row.per_visit > 0 else ""
    budget = f"{row.most_per_visit:.0f}" if 0 < row.most_per_visit < math.inf else ""
    c = row.cost
    cells = (row.target, c.registers, c.stack, c.spills, c.parked, c.shared, c.instructions, visit, budget, verdict)
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--kernels", default="", help="only kernels with this in their name, as in blend.forward")
    parser.add_argument("--few", action="store_true", help="only the ways to train that matter most")
    parser.add_argument("--launches", type=Path, help="compile these instead of recording what the backend launches")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if os.environ.pop("TRITON_INTERPRET", "0") == "1":
        print("kernels are compiled here: TRITON_INTERPRET is ignored")
    with tempfile.TemporaryDirectory() as folder:
        file = options.launches or Path(folder) / "launches.json"
        if not options.launches:
            record(file, options.few)
        launches = json.loads(file.read_text(encoding="utf-8"))
        launches = [x for x in launches if options.kernels in f"{x['module']}.{x['name']}"]
        if not launches:
            parser.error(f"no kernel has {options.kernels!r} in its name")
        os.environ["TRITON_CACHE_DIR"] = folder  # what was compiled before would not complain again
        return 0 if show(compile_all(launches, options.targets, options.processes)) else 1


if __name__ == "__main__":
    sys.exit(main())
