"""AlignTrajectories and KSampler on a small MODEL."""
import torch


def align(model, prompts, **change):
    from mental_averages.nodes.alignment import AlignTrajectories
    from mental_averages.nodes.hspace import HSpaceHook

    arguments = dict(count=3, steps=6, aligned_steps=2, iterations=2, learning_rate=0.05, cfg=3.0, scheduler="normal",
                     seed=3, keep=3, batch_size=2, resume=False)
    with torch.inference_mode():
        hspace = HSpaceHook.execute(model, "auto", "none").args[0]
        return AlignTrajectories.execute(hspace, *prompts, {"samples": torch.zeros(1, 4, 8, 8)},
                                         **{**arguments, **change}).args[0]["samples"]


def steps_of_ksampler(model, prompts):
    import nodes

    with torch.inference_mode():
        latent = {"samples": torch.zeros(1, 4, 8, 8)}
        return nodes.common_ksampler(model, 5, 10, 4.0, "euler", "normal", *prompts, latent)[0]["samples"]


def run_align(hspace, prompts, latent, **change):
    from mental_averages.nodes.alignment import AlignTrajectories

    arguments = dict(count=4, steps=6, aligned_steps=2, iterations=25, learning_rate=0.02, cfg=4.0, scheduler="normal",
                     seed=1, keep=2, resume=False, carried=0, solver="Adam", mean_error=0.0, plateau=0.0, own_noise=1.0)
    with torch.inference_mode():
        return AlignTrajectories.execute(hspace, *prompts, latent, **{**arguments, **change}).args
