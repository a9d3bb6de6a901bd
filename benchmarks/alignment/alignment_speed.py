"""How much cheaper the presets are than the published recipe, and what that costs in the picture.

The naive recipe: the whole U-Net forward, Adam at 2e-2 for 300 iterations from fresh state at each of 10 steps, all K
latents, fp32, no early stop, no compilation; the best of the 300 iterates goes on. Its cost per iteration is constant,
so its time is extrapolated from 2 % of its iterations, run in turns with the presets. Its pictures come from complete
runs at K 32 (--naive-pictures).

Costs are in encoder-pass equivalents: one forward pass of one latent up to the semantic layer is 1; its backward pass
and the whole forward pass count by their times in the same run. The floor of the method without shortcuts: the mean
over K costs K truncated forwards per aligned step, and sampling 2 S whole forwards for each picture returned. A preset
that takes the large mean only once, at the first step, may come out below it.
"""
from __future__ import annotations

from pathlib import Path

import _full_size
import _levers
from _memory import memory_figures, memory_of
from _passes import BATCH
from _pictures import make_naive_pictures, measure_pictures
from _work import measure_work, work_table
from support import DemoModel, fill_in, parse_arguments, write_figures

CONCEPTS = ["red heart", "cat face", "woman", "red apple"]
PARTS = ["work", "pictures", "full_size"]


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], concepts=dict(type=int, help="how many concepts"), repetitions=dict(type=int),
        naive_pictures=dict(type=Path, help="make the missing complete naive runs at K 32 here, and stop"),
        solvers=dict(action="store_true", help="residual against passes for each solver, and stop"),
        warm_starts=dict(action="store_true", help="where matching starts from, and stop"),
        carried=dict(action="store_true", help="few carried latents against all of them, and stop"),
        formats=dict(action="store_true", help="memory layout, precision and compilation, and stop"),
        count=dict(type=int, default=32, help="K of --solvers, --warm-starts and --carried"),
        counts=dict(type=int, nargs="+", help="every K of the table of work"),
        sheet=dict(type=Path, help="write a sheet of all recipes"),
        memory_of=dict(nargs=2, metavar=("RECIPE", "COUNT"), help="used by the memory measurement"),
        parts=dict(nargs="+", choices=PARTS, default=PARTS, help="what is measured"))
    if arguments.memory_of:
        recipe, count = arguments.memory_of
        return memory_of(CONCEPTS[0], recipe, int(count))
    fill_in(arguments, concepts=(len(CONCEPTS), 1), repetitions=(10, 3), counts=([32, 256], [256]))
    concepts, repetitions = CONCEPTS[: arguments.concepts], arguments.repetitions
    demo = DemoModel()
    if arguments.naive_pictures:
        return make_naive_pictures(demo, concepts, repetitions, arguments.naive_pictures)
    if arguments.solvers:
        return _levers.solver_table(demo, concepts, arguments.count)
    if arguments.warm_starts:
        return _levers.warm_start_table(demo, concepts, arguments.count)
    if arguments.carried:
        return _levers.carried_table(demo, concepts, repetitions, arguments.count)
    if arguments.formats:
        return _levers.format_table(demo, concepts[0])
    figures: dict[str, float] = {}
    if "work" in arguments.parts:
        # A quick run measures the naive recipe on the first 32 latents only; all latents cost the same.
        rounds, rows = (3, BATCH) if arguments.quick else (2, 0)
        figures |= work_table({count: measure_work(demo, concepts, count, rounds, naive_rows=rows)
                               for count in arguments.counts}, concepts)
        figures |= memory_figures(__file__)
    if "pictures" in arguments.parts:
        measure_pictures(demo, concepts, repetitions, not arguments.quick, figures, arguments.sheet)
    if "full_size" in arguments.parts:
        _full_size.measure()
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
