"""ModeTree: the modes of a prompt at rising noise levels, as a family tree of pictures."""
from __future__ import annotations

import dataclasses
import logging
from dataclasses import asdict
from typing import Any

import torch
from comfy_api.latest import io

from ...dma import execution, figures, mean_shift
from .. import comfyui, inputs
from ..comfyui import ProgressReporter, checkpoints
from ..inputs import CLUSTERS, REPORT, check_training_latents, checked

STANDARD = mean_shift.FamilySettings()
SEEKING_GUIDANCE, LEVELS = 1.0, "5"
TYPICAL = 4  # samples of a mode on the sheet


class ModeTree(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        cut = [
            io.DynamicCombo.Option("modes", [
                io.Int.Input("modes", default=STANDARD.cut.modes, min=1, max=100,
                             tooltip="The highest noise level that has so many modes of two samples or more.")]),
            io.DynamicCombo.Option("level", [
                io.Int.Input("level", default=1, min=1, max=100,
                             tooltip="A row of the tree: 1 is the top, the highest noise level.")]),
        ]
        return io.Schema(
            node_id="ModeTree", display_name="Mode Tree (Family Tree of a Concept)", category=inputs.category("modes"),
            description="The family tree of a concept: what its pictures have in common at rising noise levels, from "
                        "many modes to a few, each with its share and its average. Nothing is trained.",
            search_aliases=["modes", "clusters", "family tree", "hierarchy", "dendrogram", "mean shift", "DMA"],
            inputs=[
                io.Model.Input("model", tooltip="Any model that a KSampler takes, quantised ones included."),
                io.Vae.Input("vae", tooltip="The model's VAE, which decodes the pictures of the tree."),
                inputs.concept(),
                inputs.negative(),
                inputs.latent_size(),
                io.Int.Input("count", default=STANDARD.samples, min=0, max=100000,
                             tooltip="How many samples the tree is grown from (2 or more). A mode that holds a tenth "
                                     "of what the model draws wants 48. The cost grows with it."),
                inputs.steps(),
                io.Float.Input("cfg", default=3.0, min=0.0, max=100.0, step=0.1,
                               tooltip="Guidance scale of the samples and of the averages in the end. High values "
                                       "leave little of a concept's variety, and so few modes."),
                inputs.scheduler(),
                inputs.seed(),
                io.DynamicCombo.Input("cut", options=cut,
                                      tooltip="Which level of the tree goes out as averages, sheet, clusters and "
                                              "latents: modes by their number, or a level by its row."),
                io.Latent.Input("samples", optional=True,
                                tooltip="Finished latents to grow the tree from, instead of samples that this node "
                                        "draws: those of another sampler, or pictures from VAE Encode. count is then "
                                        "theirs."),
                io.Int.Input("noises", default=STANDARD.tree.count, min=0, max=4096, optional=True, advanced=True,
                             tooltip="K: how many noises the samples are moved by at each level (an even number), the "
                                     "same for all, and how many an average takes its means over. What they cannot "
                                     "tell apart is one mode, so that more noises tell finer modes apart. The cost "
                                     "grows with it."),
                io.Int.Input("iterations", default=STANDARD.tree.iterations, min=0, max=1000, optional=True,
                             advanced=True,
                             tooltip="How often a sample is moved at one level at most (3 or more); one that stands "
                                     "still, or has met another, is not moved any more."),
                io.Float.Input("tree_guidance", default=SEEKING_GUIDANCE, min=0.0, max=100.0, step=0.1, optional=True,
                               advanced=True,
                               tooltip="Guidance scale by which modes are looked for. It is applied again at every "
                                       "move: with more than a little of it colours run away."),
                io.String.Input("levels", default=LEVELS, optional=True, advanced=True,
                                tooltip="One number: so many levels, spread over the middle of the schedule. Several "
                                        "numbers, rising, apart by spaces or commas: the steps at whose noise the "
                                        "levels are, such as 3, 6, 9, 12 of 20."),
                inputs.batch_size(),
                inputs.resume(),
            ],
            outputs=[
                io.Image.Output("averages", display_name="averages",
                                tooltip="The average of each mode of the chosen level, the largest first, 12 at most. "
                                        "Single samples have one only if the level was chosen by its row, or has "
                                        "nothing else."),
                io.Image.Output("tree", display_name="tree",
                                tooltip="The family tree: averages as its nodes, branches as wide as their shares, the "
                                        "highest noise level on top. What is not drawn is counted beside each level."),
                io.Image.Output("sheet", display_name="sheet",
                                tooltip="One row per mode of the chosen level: its average, then its most typical "
                                        "samples."),
                CLUSTERS.Output("clusters", display_name="clusters",
                                tooltip="Which sample is in which mode of the chosen level, for SelectMode, AlignModes "
                                        "and TrainModeLoRA."),
                io.Latent.Output("latents", display_name="latents", tooltip="The averages as latents."),
                io.Latent.Output("samples", display_name="samples",
                                 tooltip="The samples, or those that are connected, in the order of clusters."),
                REPORT.Output("report", display_name="report",
                              tooltip="The tree as numbers: levels, modes, shares and what each is a part of, for "
                                      "SaveReport and PlotReport."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, vae, positive, negative, latent_image, count, steps, cfg, scheduler, seed, cut,
                samples=None, noises=STANDARD.tree.count, iterations=STANDARD.tree.iterations,
                tree_guidance=SEEKING_GUIDANCE, levels=LEVELS, batch_size=0, resume=True) -> io.NodeOutput:
        for conditioning, name in ((positive, "positive"), (negative, "negative")):
            comfyui.check_one_prompt(conditioning, name)
            comfyui.check_no_hooks(conditioning, name)
        comfyui.check_vae(vae, model)
        shape = comfyui.drawn_shape(model, latent_image, "ModeTree")
        given = given_samples(model, samples, shape)
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        last = len(sigmas) - 1
        settings = dataclasses.replace(
            STANDARD, samples=count, seed=seed,
            tree=mean_shift.TreeSettings(steps_of(levels, model, sigmas, shape), noises, iterations, seed),
            average=dataclasses.replace(STANDARD.average, count=noises, seed=seed,
                                        restored_noise=mean_shift.noise_for(cfg)),
            cut=mean_shift.Cut(**{cut["cut"]: cut[cut["cut"]]}))
        drawn = given is None
        count = count if given is None else len(given)
        settings.check(count, last)
        logging.info("ModeTree: at most %d predictions for %d samples; flows that have met are computed once, so that "
                     "it takes far fewer.", settings.most_predictions(count, last, drawn=drawn), count)
        guidance = {"guidance_scale": cfg, "tree_guidance_scale": tree_guidance,
                    "averaged_guidance_scale": mean_shift.averaged_guidance(cfg)}
        choices = {"shape": list(shape), "scheduler": scheduler, "levels": levels, **guidance}
        key = comfyui.run_key(model, mean_shift.FAMILY_ALGORITHM, {
            "shape": list(shape), "guidance_scale": cfg, "samples": count, "seed": seed, "sigmas": sigmas.tolist()},
            {"positive": positive, "negative": negative}, {} if given is None else {"samples": given})
        # Samples are kept for trees of other settings, too; what to take of a tree changes nothing that is kept.
        grown = execution.run_key({**guidance, "tree": asdict(settings.tree), "average": asdict(settings.average)}, {})
        reporter = ProgressReporter(model, "ModeTree")
        monitor = mean_shift.FamilyMonitor(reporter, settings, count, last, drawn=drawn)

        def grow(denoiser) -> mean_shift.Family:
            place = comfyui.saved_run(key, denoiser, sigmas[:-1].tolist(), shape) if resume else None

            def saved(part: str) -> execution.RunState | None:
                own = part if part == mean_shift.SAMPLES else f"{grown[:8]}-{part.replace(' ', '-')}"
                return dataclasses.replace(place, key=f"{key}-{own}") if place else None

            return mean_shift.family_tree(
                denoiser, sigmas, shape, settings, seeking=denoiser.with_guidance(tree_guidance),
                averaging=denoiser.with_guidance(guidance["averaged_guidance_scale"]), samples=given,
                batch=execution.batch_of(batch_size),
                watchers=lambda part: [*checkpoints(saved(part)), monitor.watch(part)],
                restored=lambda part: comfyui.found_again("ModeTree", part, saved(part)))

        family = comfyui.with_denoiser(model, positive, negative, cfg, sigmas, shape, seed, grow, layer=None,
                                       gradients=False, at_once=min(batch_size, count * max(noises, 1)))
        family.report.settings.update(choices, samples=count, chosen=last_first(family, family.chosen))
        for level in family.report.levels:
            if not level.still:
                logging.warning("ModeTree: at noise level %.3g not every sample came to stand still in %d moves: raise "
                                "iterations, or leave out the lowest levels.", level.sigma, iterations)
        return io.NodeOutput(*pictured(model, vae, family), family.clusters,
                             comfyui.latents_out_of_model(model, family.latents),
                             samples if samples is not None else comfyui.latents_out_of_model(model, family.samples),
                             family.report)


def given_samples(model: Any, samples: dict | None, shape: tuple[int, ...]) -> torch.Tensor | None:
    """Connected samples (N, C, H, W) in the units of the Denoiser. Raises ValueError, in terms of the inputs, for those
    that no tree can be grown from."""
    if samples is None:
        return None
    found = comfyui.samples_of_size(model, samples, "samples", shape)
    check_training_latents(samples["samples"])
    clean = comfyui.latents_into_model(model, found)
    with comfyui.advising("Connect samples of different seeds."):
        mean_shift.check_samples(clean, shape)
    return clean


def steps_of(levels: str, model: Any, sigmas: torch.Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The steps that `levels` asks for of a schedule (S + 1,). Raises ValueError, in terms of the input."""
    given = inputs.numbers(levels, "levels", "5, or 3, 6, 9, 12", int)
    if len(given) == 1:
        asked = given[0], sigmas.tolist(), comfyui.parametrization_of(model), shape
        with comfyui.advising("A single number in levels is how many there are."):
            found = mean_shift.spread_steps(*asked)
        if shortfall := mean_shift.spread_shortfall(*asked):
            logging.warning("ModeTree: %s For others raise steps, or name the steps themselves in levels (now they are "
                            "%s).", shortfall, ", ".join(map(str, found)))
        return found
    if sorted(set(given)) != given:
        raise ValueError(f"levels is {levels!r}: give rising steps, from the highest noise level down, such as "
                         "3, 6, 9, 12.")
    return tuple(given)


def last_first(family: mean_shift.Family, number: int) -> int:
    """The row of the tree's picture, counted from 1 at the top, of a level by its number from the lowest."""
    return len(family.tree.levels) - number


def pictured(model: Any, vae: Any, family: mean_shift.Family) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Averages of the chosen level (M, H, W, 3), the tree and the sheet."""
    chosen = {(family.chosen, mode): family.averages[family.chosen][mode].latents for mode in range(family.leading)}
    latents = chosen | family.shown
    pictures = dict(zip(latents, comfyui.decoded(vae, comfyui.latents_out_of_model(
        model, torch.cat(list(latents.values()))))))
    averages = torch.stack([pictures[place] for place in chosen])
    typical = [family.clusters.representatives(mode, TYPICAL) for mode in range(family.leading)]
    members = comfyui.decoded(vae, comfyui.latents_out_of_model(
        model, family.samples[[row for rows in typical for row in rows]])).split([len(rows) for rows in typical])
    level = family.report.levels[family.chosen]
    sheet = figures.mode_sheet(averages, members, family.clusters, columns=TYPICAL + 1,
                               title=f"level {last_first(family, family.chosen)}: noise {level.sigma:.3g}")
    return averages, figures.mode_tree(family.report, pictures), sheet
