"""Whether a change of the code has changed a result: everything that draws or trains, by node, bit by bit.

    python tools/run_benchmark.py unchanged --record FOLDER      before the change
    python tools/run_benchmark.py unchanged --compare FOLDER     after it, on the same machine

Nodes are asked by their ids, which are a public contract, so that nothing here depends on where code stands. Each run
that keeps a state on disk is made three times when recorded: to the end, to an interrupt in the middle, and on from
there. What the interrupt left is kept; the code that is compared has to go on from it to the same bits. Another
processor or number of threads adds up in another order, so a record is worth nothing elsewhere, and is not kept in the
repository.
"""
from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from _cases import cases_of
from _results import differences, load, save
from _world import Case, World

import pack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--record", metavar="FOLDER", type=Path)
    choice.add_argument("--compare", metavar="FOLDER", type=Path)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    options = parser.parse_args()
    pack.load_pack()
    pack.load_comfyui()
    torch.set_num_threads(1)
    world = World()
    cases = {name: case for name, case in cases_of(world).items() if options.only in name}
    if options.record:
        record(world, cases, options.record)
    elif not compare(world, cases, options.compare):
        raise SystemExit(1)


def record(world: World, cases: dict[str, Case], folder: Path) -> None:
    for name, case in cases.items():
        where = folder / name
        where.mkdir(parents=True, exist_ok=True)
        calls = world.calls_of(case)
        save(world.run(case, where / "finished" if case.resumes else None), where / "result.safetensors")
        if case.resumes:
            for share in (0.5, 0.7, 0.9, 0.97):  # until one of its saves is behind it
                world.interrupted(case, where / "interrupted", int(share * calls))
                if (where / "interrupted").exists():
                    break
            if not (where / "interrupted").exists():
                print(f"{name}: {calls} calls, keeps no state before its end", flush=True)
                continue
            found = world.run(case, copied(where / "interrupted"))
            same = differences(found, load(where / "result.safetensors")) or "goes on to the same bits"
            print(f"{name}: {calls} calls, interrupted at {share:.0%}, {same}", flush=True)
        else:
            print(f"{name}: {calls} calls", flush=True)


def compare(world: World, cases: dict[str, Case], folder: Path) -> bool:
    wrong = 0
    for name, case in cases.items():
        where, found = folder / name, {}
        runs = {"anew": None} if not case.resumes else {
            "anew": Path(tempfile.mkdtemp()), "from an interrupted state": where / "interrupted",
            "from a finished state": where / "finished"}
        runs = {kind: copied(state) if state and state.is_relative_to(folder) else state for kind, state in runs.items()
                if state is None or state.exists()}
        calls = {}
        for kind, state in runs.items():
            found[kind] = differences(world.run(case, state), load(where / "result.safetensors"))
            calls[kind] = world.calls
        # A state that is not found costs as much as a new run, and gives the same.
        order = list(calls.values())
        if not all(before > after for before, after in zip(order, order[1:])):
            found["from a finished state"] += f" the states were not used: calls {calls}"
        wrong += any(found.values())
        print(f"{name}: {'the same' if not any(found.values()) else found}, calls {list(calls.values())}", flush=True)
    print(f"{len(cases) - wrong} of {len(cases)} cases are the same to the last bit")
    return not wrong


def copied(folder: Path) -> Path:
    copy = Path(tempfile.mkdtemp()) / "user"
    shutil.copytree(folder, copy)
    return copy


if __name__ == "__main__":
    main()
