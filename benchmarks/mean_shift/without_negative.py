"""What stands for the empty prompt where MentalAverage has no negative one, and how far its picture is from the real.

Guidance leads away from the empty prompt, zeros (ConditioningZeroOut), the vector of the text's start alone, or from
nothing (guidance 1). Distances are root mean squares over pixels from 0 to 1, from the average with the empty prompt.
"""
from __future__ import annotations

from support import (
    GUIDANCE,
    SCHEDULER,
    DemoModel,
    fill_in,
    on_model,
    parse_arguments,
    print_table,
    shifted_average,
    write_figures,
)
from torch import Tensor

CONCEPTS = ["red heart", "cat face", "woman"]


def start_alone(positive: list) -> list:
    return [[embedding[:, :1].expand_as(embedding).clone(), options] for embedding, options in positive]


def measure(demo: DemoModel, concept: str, guidance: float, count: int) -> dict[str, float]:
    """The distance of each from the average with the empty prompt, and that of another seed's."""
    import nodes  # core's, which is there once the demo model is

    positive, empty = demo.encode([concept]), demo.encode([""])

    def picture(negative: list, scale: float, seed: int = 0) -> Tensor:
        def average(denoiser, sigmas):
            return shifted_average(denoiser, sigmas, demo.shape, scale, seed, count=count).latents

        return demo.decode(on_model(demo.model, positive, negative, scale, demo.shape, average, scheduler=SCHEDULER,
                                    layer=None, gradients=False))[0]

    real = picture(empty, guidance)
    pictures = {"another seed": picture(empty, guidance, 1),
                "zeros": picture(nodes.ConditioningZeroOut().zero_out(positive)[0], guidance),
                "start of the text": picture(start_alone(positive), guidance),
                "no guidance": picture(empty, 1.0)}
    return {name: (found - real).square().mean().sqrt().item() for name, found in pictures.items()}


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], guidance=dict(type=float, default=GUIDANCE),
                                concepts=dict(type=int), count=dict(type=int, help="noises of a level"))
    fill_in(arguments, concepts=(len(CONCEPTS), 1), count=(16, 4))
    demo, figures, rows = DemoModel(), {}, []
    for concept in CONCEPTS[: arguments.concepts]:
        found = measure(demo, concept, arguments.guidance, arguments.count)
        figures |= {f"{name} {concept}".replace(" ", "_"): value for name, value in found.items()}
        rows.append([concept, *(f"{value:.3f}" for value in found.values())])
    print_table(["concept", *found], rows)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
