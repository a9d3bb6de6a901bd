"""Small text encoders, and the training of embeddings on them."""
from types import SimpleNamespace

import torch
from small_models import MODELS

LEVELS = torch.tensor([5.0, 0.0])


def small_clip(name, embeddings):
    """A CLIP whose encoders have the real tokenizers and three small random layers each, made as core makes it."""
    import comfy.sd
    import comfy.sd1_clip
    import comfy.sdxl_clip

    def config(width):
        return {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 3, "num_attention_heads": 2}

    module, kind, widths = {"SD1.5": (comfy.sd1_clip, "SD1", {"clip_l": 16}),
                            "SDXL": (comfy.sdxl_clip, "SDXL", {"clip_l": 6, "clip_g": 10})}[name]
    target = SimpleNamespace(params={}, clip=getattr(module, f"{kind}ClipModel"),
                             tokenizer=getattr(module, f"{kind}Tokenizer"))
    options = {f"{encoder}_model_config": config(width) for encoder, width in widths.items()}
    with torch.inference_mode():
        clip = comfy.sd.CLIP(target, embedding_directory=[str(embeddings)],
                             model_options={**options, "dtype": torch.float32})
        generator = torch.Generator().manual_seed(0)
        for key, parameter in clip.cond_stage_model.named_parameters():
            if parameter.ndim == 2:
                scale = 0.3 if "embedding" in key else parameter.shape[1] ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            elif parameter.ndim == 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1 + float(key.endswith("weight")))
    return clip


def small_model(name):
    """A small MODEL on which prompts have much influence, as they have not on one with random weights."""
    model = MODELS[name].build(**({"adm_in_channels": 10 + 6 * 256} if name == "SDXL" else {}))
    with torch.inference_mode():
        for key, parameter in model.model.diffusion_model.named_parameters():
            if "attn2.to_out" in key or "label_emb" in key:
                parameter.mul_(5)
    return model


def train(case, **change):
    """(text, conditioning, loss, report) of the node, inside inference mode as ComfyUI runs it."""
    from mental_averages.nodes.training import TrainModeEmbedding

    with torch.inference_mode():
        return TrainModeEmbedding.execute(**{**case, **change}).args


def content(embeddings, name="mode"):
    from safetensors.torch import load_file

    return load_file(embeddings / f"{name}.safetensors")


def encode(clip, text):
    import nodes

    with torch.inference_mode():
        return nodes.CLIPTextEncode().encode(clip, text)[0]


def losses_on_fixed_noise(case, conditioning, shape=(4, 8, 8)):
    """The training loss (40,) under a CONDITIONING on noise that training does not see."""
    from mental_averages.dma import training
    from mental_averages.nodes import comfyui

    clean = comfyui.latents_into_model(case["model"], case["latents"]["samples"])
    settings = training.TrainingSettings(batch_size=20, seed=99)

    def measure(denoiser):
        loss = training.loss_on(clean, denoiser.parametrization, denoiser.device,
                                          denoiser.denoise_differentiably)
        draws = (training.draw(settings, step, len(clean), shape, denoiser.noise_levels())
                 for step in range(2))
        return torch.cat([loss(*drawn) for drawn in draws])

    return comfyui.with_denoiser(case["model"], conditioning, conditioning, 1.0, LEVELS, shape, 0, measure,
                                     layer=None)


def slopes(case, template, epsilon, save_memory=False):
    """For each encoder the derivative of a training loss along its gradient, by autograd and by central differences."""
    from mental_averages.dma import training
    from mental_averages.nodes import comfyui

    with torch.inference_mode(False), torch.no_grad():
        prompt = comfyui.prompt_with_vectors(case["clip"], template, 2)
        vectors = prompt.vectors("castle on a hill", 2)
        start = prompt.encode(vectors)
    clean = comfyui.latents_into_model(case["model"], case["latents"]["samples"])[:2]
    found = []

    def measure(denoiser):
        noise, sigma = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)), torch.tensor([5.0, 1.0])
        loss_now = training.loss_on(clean, denoiser.parametrization, denoiser.device,
                                              denoiser.denoise_differentiably)
        with comfyui.differentiable_encoding(prompt, save_memory) as encode:
            def loss(values):
                comfyui.set_positive(denoiser, encode(values), (4, 8, 8))
                return loss_now(torch.arange(2), noise, sigma).double().sum()

            leaves = [values.clone().requires_grad_() for values in vectors]
            with torch.enable_grad():
                gradients = torch.autograd.grad(loss(leaves), leaves)
            for place, gradient in enumerate(gradients):
                direction, ends = gradient / gradient.norm().clamp_min(1e-30), []
                for sign in (1, -1):
                    moved = list(vectors)
                    moved[place] = vectors[place] + sign * epsilon * direction
                    ends.append(loss(moved).item())
                found.append((gradient.norm().item(), (ends[0] - ends[1]) / (2 * epsilon)))

    positive = comfyui.loaded_with_model(prompt, start)
    comfyui.with_denoiser(case["model"], positive, start, 1.0, LEVELS, (4, 8, 8), 0, measure, layer=None,
                              save_memory=save_memory)
    return found
