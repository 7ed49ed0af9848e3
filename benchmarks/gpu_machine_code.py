"""A compiled kernel's machine code to what it costs: registers, stack, instructions, instructions of its loops.

NVIDIA's is read with cuobjdump and nvdisasm, which come with Triton; AMD's is the assembly that Triton leaves.
"""

import functools
import operator
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cost", "Instruction", "cost_amd", "cost_nvidia", "loops", "per_exp2", "read_assembly", "read_sass"]


@dataclass(frozen=True)
class Instruction:
    """One machine instruction and where the thread may be next."""

    name: str
    target: str = ""  # label it may jump to
    falls: bool = True  # False: never goes on to the next instruction


@dataclass(frozen=True)
class Cost:
    """What a kernel asks of the machine, per thread or per block of threads."""

    registers: int  # per thread; AMD: vector registers
    stack: int  # bytes of memory per thread, which spilled registers end in
    spills: int  # registers kept in memory, as far as the compiler says
    shared: int  # bytes per block
    instructions: int
    per_exp2: float  # instructions of the innermost loop for each exponential in it; 0: there is none
    parked: int = 0  # AMD: scalar registers, of a whole wave, kept in lanes of vector registers: not in memory


# what is skipped: filling behind the last instruction, and AMD's hints to the scheduler
PADDING = {"NOP", "s_nop", "s_code_end", "s_delay_alu", "s_clause"}
SASS = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)")
SASS_LABEL = re.compile(r"^(\.L_\w+):")
SASS_TARGET = re.compile(r"(!?U?P\d+, *)?`\((\.L_\w+)\)")
AMD = re.compile(r"^\t([a-z]+_[a-z0-9_]+)(?:\s+(\S+))?")
AMD_LABEL = re.compile(r"^(\.L\w+):")

Code = tuple[list[Instruction], dict[str, int]]  # instructions, and the place of each label among them


def read_sass(text: str) -> Code:
    """nvdisasm's listing. The ways of a warp that is not together are not followed: here it always is."""
    code: list[Instruction] = []
    places: dict[str, int] = {}
    for line in text.splitlines():
        if label := SASS_LABEL.match(line):
            places[label[1]] = len(code)
        elif (found := SASS.match(line)) and found[2] not in PADDING:
            code.append(_sass_instruction(found[2], bool(found[1]), SASS_TARGET.search(line)))
    return code, places


def _sass_instruction(name: str, conditional: bool, target: re.Match[str] | None) -> Instruction:
    if name.startswith("BRA") and target and ".DIV" not in name:
        return Instruction(name, target[2], falls=(conditional or bool(target[1])) and ".CONV" not in name)
    return Instruction(name, falls=conditional or name.split(".")[0] not in ("EXIT", "RET"))


def read_assembly(text: str) -> Code:
    """AMD's assembly of one kernel."""
    code: list[Instruction] = []
    places: dict[str, int] = {}
    for line in text.split("\t.amdgpu_metadata")[0].splitlines():
        if label := AMD_LABEL.match(line):
            places[label[1]] = len(code)
        elif (found := AMD.match(line)) and found[1] not in PADDING:
            name, jumps = found[1], found[1].startswith(("s_branch", "s_cbranch"))
            code.append(Instruction(name, found[2] if jumps else "", name not in ("s_branch", "s_endpgm")))
    return code, places


def loops(code: Sequence[Instruction], places: dict[str, int]) -> list[frozenset[int]]:
    """The natural loops: every instruction from which a jump back is reached without its target (Aho et al. 2006)."""
    after: list[list[int]] = []
    for place, instruction in enumerate(code):
        nexts = {place + 1} if instruction.falls else set()
        nexts |= {places[instruction.target]} if instruction.target in places else set()
        after.append([n for n in nexts if n < len(code)])
    before: list[list[int]] = [[] for _ in code]
    reached, waiting = {0}, [0]
    while waiting:
        place = waiting.pop()
        for n in after[place]:
            before[n].append(place)
        fresh = [n for n in after[place] if n not in reached]
        reached.update(fresh)
        waiting.extend(fresh)
    dominators = _dominators(before)
    bodies: dict[int, set[int]] = {}
    for place in reached:
        for head in after[place]:
            if dominators[place] >> head & 1:
                bodies.setdefault(head, set()).update(_body(head, place, before))
    return [frozenset(body) for body in bodies.values()]


def _dominators(before: Sequence[Iterable[int]]) -> list[int]:
    """For each instruction the set, as bits, of those that lie on every way to it from the first."""
    everything = (1 << len(before)) - 1
    sets = [1] + [everything] * (len(before) - 1)
    changed = True
    while changed:
        changed = False
        for place in range(1, len(before)):
            new = functools.reduce(operator.and_, (sets[b] for b in before[place]), everything) | 1 << place
            if sets[place] != new:
                sets[place], changed = new, True
    return sets


def _body(head: int, last: int, before: Sequence[Iterable[int]]) -> set[int]:
    body, waiting = {head, last}, [last]
    while waiting:
        place = waiting.pop()
        if place != head:
            fresh = [b for b in before[place] if b not in body]
            body.update(fresh)
            waiting.extend(fresh)
    return body


def per_exp2(code: Code, exp2: str) -> float:
    """Instructions for each exponential in the innermost loop that has any: unrolling it changes little."""
    instructions, places = code
    found = [(sum(instructions[p].name.startswith(exp2) for p in body), body) for body in loops(instructions, places)]
    found = [(exps, body) for exps, body in found if exps]
    innermost = [(exps, body) for exps, body in found if not any(other < body for _, other in found)]
    if not innermost:
        return 0.0
    exps, body = max(innermost, key=lambda each: each[0])
    return len(body) / exps


def cost_nvidia(cubin: bytes, shared: int, tools: Path) -> Cost:
    """The cost of a cubin; `tools` is where cuobjdump and nvdisasm are, `shared` what Triton will ask for."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        usage = _run(tools / "cuobjdump", "-res-usage", path)
        code = read_sass(_run(tools / "nvdisasm", "-c", path))
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", usage)
    if not found:
        raise ValueError(f"cuobjdump -res-usage said nothing of registers: {usage[:200]!r}")
    registers, stack, _, local = map(int, found.groups())
    moves = sum(i.name.split(".")[0] in ("LDL", "STL") for i in code[0])
    return Cost(registers, stack + local, moves, shared, len(code[0]), per_exp2(code, "MUFU.EX2"))


def _run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout


def cost_amd(assembly: str, shared: int) -> Cost:
    """The cost of a kernel in AMD's assembly; `shared` is what Triton will ask for."""

    def number(name: str) -> int:
        found = re.search(rf"\.{name}:\s+(\d+)", assembly)
        if not found:
            raise ValueError(f"the assembly's metadata has no {name}")
        return int(found[1])

    code = read_assembly(assembly)
    return Cost(
        registers=number("vgpr_count"),
        stack=number("private_segment_fixed_size"),
        spills=number("vgpr_spill_count"),
        shared=max(shared, number("group_segment_fixed_size")),
        instructions=len(code[0]),
        per_exp2=per_exp2(code, "v_exp_f32"),
        parked=number("sgpr_spill_count"),
    )
