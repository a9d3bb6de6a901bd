"""What the levers of the demo denoiser's training give in short runs at equal compute.

Each lever trains from the same start, the stored weights or with --fresh new ones, by one thread, on as many
multiplications (a step of a larger network or with more batches counts for more, and there are fewer of them), once for
each seed. Measured are the averaged weights on the same held-out pictures of all styles and the same noise: the error
of the noise under their captions, and the share of drawn concepts that the judge of the benchmark demo_model knows.
Differences are those of equal seeds. Intervals are of 95 % over seeds, by Student's t: they tell what another draw of
the training would give, not what other pictures or concepts would. A run that is done is not done again: RUNS keeps
its figures.
"""
from __future__ import annotations

import math
from pathlib import Path

from _levers import ARCHITECTURES, BASE, LEVERS, equal_steps, interval, run_lever, yardstick
from support import ICONS, fill_in, parse_arguments, print_table, write_figures

import networks
import pack


def told(values: list[float], digits: int, signed: bool = False) -> str:
    mean, reach = interval(values)
    sign = "+" if signed else ""
    return f"{mean:{sign}.{digits}f}" + ("" if math.isnan(reach) else f" ± {reach:.{digits}f}")


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], data=ICONS,
        runs=dict(type=Path, required=True, help="folder for the trainings and their figures"),
        levers=dict(nargs="+", choices=[*LEVERS, *ARCHITECTURES], metavar="LEVER",
                    help=f"some of: {', '.join(map(repr, (*LEVERS, *ARCHITECTURES)))}"),
        steps=dict(type=int, help="of the first; 200"), batch=dict(type=int, help="32"),
        seeds=dict(type=int, help="trainings of each lever; 3"),
        pictures=dict(type=int, help="that are trained on; all"),
        held_out=dict(type=int, help="pictures that the error is measured on; 256"),
        concepts=dict(type=int, help="that are drawn and judged; 60, 0 for none"),
        fresh=dict(action="store_true", help="start from new weights, which those of other architectures need"))
    fill_in(arguments, steps=(200, 20), batch=(32, 8), seeds=(3, 2), pictures=(None, 512), held_out=(256, 64),
            concepts=(60, 0), levers=([*LEVERS, *(ARCHITECTURES if arguments.fresh else ())],
                                      [BASE, "assigned noise", "larger batch"]))
    others = [lever for lever in arguments.levers if lever in ARCHITECTURES]
    if others and not arguments.fresh:
        raise SystemExit(f"{', '.join(others)}: the stored weights are of another architecture; compare with --fresh.")
    pack.load_comfyui()
    stored = networks.stored_networks()
    architecture = networks.FIRST if arguments.fresh else stored.architecture
    levers = [BASE, *(lever for lever in arguments.levers if lever != BASE)]
    measure, rows, figures, base = yardstick(arguments, stored), [], {}, {}
    for lever in levers:
        steps = equal_steps(lever, arguments.steps, architecture)
        runs = [run_lever(lever, seed, steps, arguments, stored, measure) for seed in range(arguments.seeds)]
        found = {name: [run[name] for run in runs] for name in runs[0]}
        base = base or found
        row = [lever, " ".join({**LEVERS, **ARCHITECTURES}[lever]), f"{steps}", f"{interval(found['seconds'])[0]:.0f}"]
        for name in ("loss", "recognised"):
            if name not in found:
                row += ["", ""]
                continue
            differences = [value - of_base for value, of_base in zip(found[name], base[name])]
            row += [told(found[name], 4), "" if lever == BASE else told(differences, 4, signed=True)]
            figures[f"{name}_{lever.replace(' ', '_')}"] = interval(found[name])[0]
        rows.append(row)
        print(" | ".join(row), flush=True)
    print(f"\n{arguments.seeds} seeds, batch {arguments.batch}, from {'new' if arguments.fresh else 'the stored'} "
          f"weights, {len(measure.captions)} held-out pictures, {len(measure.concepts)} concepts\n")
    print_table(["lever", "options", "steps", "processor seconds", "held-out loss", "difference", "classified right",
                 "difference"], rows)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
