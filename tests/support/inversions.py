"""DDIMInvert and DDIMSample with short arguments, inside inference mode as ComfyUI runs them."""
import torch

METHODS = {
    "ddim": dict(told="target"), "fixed_point": dict(tolerance=1e-6, iterations=30, history=3),
    "exact": dict(gamma=0.95), "negative_prompt": {}, "null_text": dict(iterations=4, learning_rate=0.01),
    "midpoint": {}, "fireflow": {}, "rf_inversion": dict(gamma=0.0, eta=1.0, controlled=1.0, seed=0),
    "dpm_encoder": dict(eta=1.0, seed=0),
}
SHAPE = (4, 8, 8)


def method(name, **change):
    return {"method": name, **METHODS[name], **change}


def read_as(model, *law):
    """The tiny network with another law of noise and prediction, given by two of core's classes."""
    model = model.clone()
    model.add_object_patch("model_sampling", type("Law", law, {})(model.model.model_config))
    return model


def pictures(count=2):
    return {"samples": 3 * torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(4))}


def invert(model, texts, latent, name="ddim", cfg=1.0, steps=6, scheduler="simple", **change):
    from mental_averages.nodes.inversion import DDIMInvert

    with torch.inference_mode():
        arguments = dict(negative=texts[1], **change)
        chosen = arguments.pop("method", method(name))
        return DDIMInvert.execute(model, texts[0], latent, steps, scheduler, cfg, chosen, **arguments).args


def sample(model, texts, latent, cfg=1.0, steps=6, scheduler="simple", **options):
    from mental_averages.nodes.inversion import DDIMSample

    with torch.inference_mode():
        return DDIMSample.execute(model, *texts, latent, steps, scheduler, cfg, **options).args[0]


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()
