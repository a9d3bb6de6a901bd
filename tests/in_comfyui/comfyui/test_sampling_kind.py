"""What a sampling was of: two that differ in what a guider holds are told apart."""
import torch
from core_predictions import prompts
from small_models import MODELS


def test_numbers_and_models_of_guiders(unet):
    import comfy_extras.nodes_custom_sampler as core
    from comfy_extras.nodes_perpneg import PerpNegGuider
    from patched_models import lora

    from mental_averages.nodes.comfyui._sampling_kind import kind_of

    texts, sigmas = (*prompts(), MODELS["SD1.5"].conditioning(3)), torch.tensor([5.0, 1.0, 0.0])
    made = [lambda: core.DualCFGGuider.execute(unet, *texts, 1.5, 4.0, "regular"),
            lambda: core.DualCFGGuider.execute(unet, *texts, 8.0, 4.0, "regular"),
            lambda: core.DualCFGGuider.execute(unet, *texts, 1.5, 4.0, "nested"),
            lambda: PerpNegGuider.execute(unet, *texts, 4.0, 0.5),
            lambda: PerpNegGuider.execute(unet, *texts, 4.0, 5.0),
            lambda: core.DualModelGuider.execute(unet, texts[0], 4.0, unet.clone(), texts[1]),
            lambda: core.DualModelGuider.execute(unet, texts[0], 4.0, lora(unet), texts[1]),
            lambda: core.CFGGuider.execute(unet, *texts[:2], 4.0),
            lambda: core.CFGGuider.execute(unet, *texts[:2], 5.0)]
    found, again = ([kind_of(guider().args[0], "euler", sigmas) for guider in made] for _ in range(2))
    assert found == again and len(set(found)) == len(found)
    plain = found[-2]
    assert plain.sampler == "euler" and plain.guidance == 4.0
    assert found[0].sampler == "euler (cfg1 1.5, cfg2 4.0, nested False)"
