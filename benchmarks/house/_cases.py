"""Every node that draws, trains or reckons, with small inputs."""
from __future__ import annotations

import torch
from _world import Case, World

# The numbers of the preset custom in a new node.
NUMBERS = dict(aligned_steps=4, iterations=40, tolerance=0.001, plateau=0.02, mean_error=0.02, own_noise=0.3, carried=4,
               keep=4)


def custom(solver: str, **numbers: float) -> dict:
    """A value of AlignTrajectories' preset custom."""
    rate = {"learning_rate": 0.02} if solver == "Adam" else {}
    return {"preset": "custom", "solver": {"solver": solver, **rate}, **NUMBERS, **numbers}


def cases_of(world: World) -> dict[str, Case]:
    latent, flow_latent = {"samples": torch.zeros(1, 4, 8, 8)}, {"samples": torch.zeros(1, 16, 8, 8)}
    noise = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    pictures = {"samples": 0.2 * noise}
    flow_latent = {"samples": torch.zeros(1, world.flow.model.latent_format.latent_channels, 8, 8)}
    flow_pictures = {"samples": 0.2 * torch.randn(2, *flow_latent["samples"].shape[1:],
                                                  generator=torch.Generator().manual_seed(6))}
    align = dict(hspace=world.hspace(world.model), positive=world.heart, negative=world.empty, latent_image=latent,
                 count=9, steps=6, cfg=5.0, scheduler="ddim_uniform", seed=3, batch_size=4)
    effort = dict(solver="L-BFGS", aligned_steps=3, iterations=12, keep=2)
    flow = dict(hspace=world.hspace(world.flow), positive=world.flow_heart, negative=world.flow_empty,
                latent_image=flow_latent)
    mixture = dict(hspace=world.hspace(world.model, pooling="mean"), positive=world.heart, negative=world.empty,
                   latent_image=latent, count=12, components={"components": "bic", "smallest": 1, "largest": 3},
                   steps=6, aligned_steps=2, cfg=3.0, scheduler="normal", seed=1, preset="standard",
                   mixture_level=0.3, batch_size=5)
    invert = dict(model=world.model, positive=world.heart, latent_image={"samples": pictures["samples"][:2]}, steps=6,
                  scheduler="ddim_uniform", cfg=1.0, negative=world.empty)
    methods = {
        "ddim": {"told": "target"}, "fixed_point": {"tolerance": 1e-5, "iterations": 8, "history": 3},
        "exact": {"gamma": 0.95}, "negative_prompt": {}, "null_text": {"iterations": 4, "learning_rate": 0.01},
        "midpoint": {}, "fireflow": {}, "dpm_encoder": {"eta": 1.0, "seed": 0},
    }
    train = dict(model=world.model, latents=pictures, steps=8, learning_rate=1e-3, seed=2, batch_size=2,
                 preview_interval=3)
    images = torch.rand(6, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    represented = world.nodes["ChannelMeans"].execute(
        world.model, world.heart, pictures, "0.9, 0.6, 0.3", draws=2, layer="auto", pooling="2x2", seed=0,
        resume=False).args[0]
    cases = {
        "align_adam": Case("AlignTrajectories",
                           {**align, "preset": custom(**{**effort, "solver": "Adam"}, carried=0, own_noise=1.0,
                                                      mean_error=0.0, plateau=0.0, tolerance=0.0)}, "resume"),
        "align_standard": Case("AlignTrajectories",
                               {**align, "preset": {"preset": "standard", "keep": 2}, "restored_noise": 0.5},
                               "resume"),
        "align_draft": Case("AlignTrajectories", {**align, "preset": {"preset": "draft"}, "count": 40}, "resume"),
        "align_gauss_newton": Case("AlignTrajectories",
                                   {**align, "preset": custom(**{**effort, "solver": "Gauss-Newton", "iterations": 2}),
                                    "count": 3}, "resume"),
        "align_none": Case("AlignTrajectories", {**align, "preset": custom(**{**effort, "aligned_steps": 0})},
                           "resume"),
        "align_guided": Case("AlignTrajectories",
                             {**align, "branch": "guided", "save_memory": True,
                              "preset": custom(**{**effort, "iterations": 3})}, "resume"),
        "align_flow": Case("AlignTrajectories", {**align, **flow, "preset": custom(**effort), "count": 5}, "resume"),
        "mixture": Case("AlignMixtureModes", mixture, "resume"),
        "mixture_of_samples": Case("AlignMixtureModes",
                                   {**mixture, "samples": pictures, "minimum_size": 1, "components":
                                    {"components": "fixed", "modes": 2}}, "resume"),
        "lora": Case("TrainModeLoRA", {**train, "positive": world.heart, "rank": 2, "target": "all linear and conv"},
                     "resume"),
        "embedding": Case("TrainModeEmbedding",
                          {**train, "clip": world.clip, "name": "mode", "initial_text": "heart", "vectors": 2,
                           "template": "{}"}, "resume"),
        "probe": Case("SemanticLayerProbe", dict(
            model=world.model, prompts={"prompts0": world.heart, "prompts1": world.cat}, negative=world.empty,
            latent_image=latent, samples=4, levels="0, 0.3", steps=6, cfg=5.0, scheduler="normal", seed=0,
            pooling="none", matched=1, iterations=3, batch_size=3), "cached"),
        "capture": Case("CaptureHSpace", dict(hspace=world.hspace(world.model), positive=world.heart, latent=pictures,
                                              percent=0.4, seed=1)),
        "zero": Case("ZeroLatent",
                     dict(model=world.model, positive=world.heart, negative=world.empty, latent_image=latent, steps=6,
                          cfg=5.0, scheduler="karras", noise_scale=0.3, seed=4)),
        "statistics": Case("LatentStatistics", dict(latents={"latents0": {"samples": noise}}, subsets=4, seed=0)),
        "offset": Case("LatentOffset", dict(latent={"samples": noise}, offsets="0, 0.4")),
        "medoid": Case("MedoidSelect", dict(images=images)),
        "aligned_mean": Case("AlignedMean", dict(images=images, similarity_rounds=3, flow_rounds=2, resume=False)),
        "clusters": Case("CLIPGMMClusters", dict(
            images=images, reduction={"reduction": "dimensions", "dimensions": 3},
            components={"components": "bic", "smallest": 1, "largest": 3}, covariance="full", minimum_size=1,
            small_clusters="merge", seed=0, representation=represented)),
        "reconstruct": Case("ReconstructFromRepresentation", dict(
            model=world.model, positive=world.heart, representation=represented, count=3, iterations=12,
            learning_rate=0.02, seed=4, batch_size=2), "resume"),
        "rf_inversion": Case("DDIMInvert", {**invert, "model": world.flow, "positive": world.flow_heart,
                                            "negative": world.flow_empty, "latent_image": flow_pictures,
                                            "method": {"method": "rf_inversion", "gamma": 0.5, "eta": 1.0,
                                                       "controlled": 0.25, "seed": 0}}),
        "back": Case("DDIMSample",
                     dict(model=world.model, positive=world.heart, negative=world.empty, latent={"samples": noise[:3]},
                          steps=6, scheduler="normal", cfg=4.0)),
    }
    for method, options in methods.items():
        guidance = 4.0 if method in ("null_text", "negative_prompt") else 1.0
        cases[f"invert_{method}"] = Case("DDIMInvert",
                                         {**invert, "cfg": guidance, "method": {"method": method, **options}})
    for method in ("lin", "fix", "nin", "restored_variance", "lol", "slerp", "slerp_common"):
        for adjustment in ("none", "global", "channel", "low_pass"):
            two = {"latents0": {"samples": noise[:2] + 0.1}}
            cases[f"mix_{method}_{adjustment}"] = Case("ChannelMeanInterpolate", dict(
                latents=two, weights="0.3 0.7\n1 0", method=method, mean_adjustment=adjustment))
    return cases
