"""AlignTrajectories and KSampler on a small MODEL."""
import torch

# The numbers of the preset custom in a new node.
NUMBERS = dict(aligned_steps=4, iterations=40, tolerance=0.001, plateau=0.02, mean_error=0.02, own_noise=0.3, carried=4,
               keep=4)


def gathered(solver="L-BFGS", learning_rate=0.02, **arguments):
    """Arguments of the node with those of the preset custom in its value, as ComfyUI hands them over."""
    chosen = {"solver": solver, **({"learning_rate": learning_rate} if solver == "Adam" else {})}
    numbers = {name: arguments.pop(name, default) for name, default in NUMBERS.items()}
    return {**arguments, "preset": {"preset": "custom", "solver": chosen, **numbers}}


def execute(model, positive, negative, latent, **arguments):
    """The node with the preset custom, on a MODEL or on what HSpaceHook gives."""
    from mental_averages.nodes.alignment import AlignTrajectories

    return AlignTrajectories.execute(model, positive, negative, latent, **gathered(**arguments)).args


def align(model, prompts, **change):
    arguments = dict(count=3, steps=6, aligned_steps=2, iterations=2, learning_rate=0.05, cfg=3.0, scheduler="normal",
                     seed=3, keep=3, batch_size=2, resume=False)
    with torch.inference_mode():
        return execute(model, *prompts, {"samples": torch.zeros(1, 4, 8, 8)}, **{**arguments, **change})[0]["samples"]


def steps_of_ksampler(model, prompts):
    import nodes

    with torch.inference_mode():
        latent = {"samples": torch.zeros(1, 4, 8, 8)}
        return nodes.common_ksampler(model, 5, 10, 4.0, "euler", "normal", *prompts, latent)[0]["samples"]


def run_align(hspace, prompts, latent, **change):
    arguments = dict(count=4, steps=6, aligned_steps=2, iterations=25, learning_rate=0.02, cfg=4.0, scheduler="normal",
                     seed=1, keep=2, resume=False, carried=0, solver="Adam", mean_error=0.0, plateau=0.0, own_noise=1.0)
    with torch.inference_mode():
        return execute(hspace, *prompts, latent, **{**arguments, **change})
