"""What docs/architectures.md promises of conditioning and patches, by every node that takes a MODEL, on a real server.

Each test queues core's own nodes before ours. Where a prediction is promised to be core's, the results are compared
with those of a KSampler, or of our SAMPLER inside core's guider; elsewhere whether a patch is seen at all, or not.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import graphs
import pytest
import torch
from model_files import write_models
from promised_graphs import EQUAL, NODES, Graph, Kind, core, results

import comfy_server
import pack
import workspace

# What is guided; and what other nodes' guidance changes at a scale of 1 too.
GUIDED = {"not_aligned", "aligned", "mixture", "average", "tree", "zero", "sampled", "from_a_seed", "modes_none",
          "modes_lora", "d4m", "mgd3", "shared_average"}
AT_1_TOO = GUIDED | {"inverted", "null_text", "reconstructed"}
EVERY = frozenset(NODES)
PROMPTED = EVERY - {"embedding"}
ROUNDING = 1e-5  # one and the same graph gives one and the same result


@pytest.fixture(scope="module", autouse=True)
def _files(base):
    write_models(pack.demo_checkpoint().resolve(), base / "models")
    workspace.add_checkpoint(base, pack.demo_transformer())


@pytest.fixture(scope="module")
def kinds(checkpoint):
    return {"U-Net": Kind(checkpoint), "transformer": Kind(pack.demo_transformer().name, "EmptySD3LatentImage",
                                                           "joint_blocks.3")}


@pytest.fixture(scope="module")
def plain(server, kinds):
    """The results without anything patched, of each kind of model; made once."""
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = everything(server, Graph(kinds[kind]), EVERY - MISSING[kind])
        return made[kind]

    return of


MISSING = {"U-Net": frozenset(), "transformer": frozenset({"embedding"})}  # for SD1.5 and SDXL alone


def everything(server, graph: Graph, names, with_core: bool = True) -> dict[str, torch.Tensor]:
    for name in sorted(names):
        NODES[name](graph)
    if with_core:
        core(graph)
    found = results(server, graph)
    assert names <= found.keys()
    for name, values in found.items():
        assert values.isfinite().all(), name
    return found


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def on_model(kind: str, **inputs) -> Callable[[Graph], None]:
    """Puts one of core's nodes behind the model."""
    def patch(graph: Graph) -> None:
        graph.on["model"] = graph.add(kind, model=graph.on["model"], **inputs)
    return patch


def on_prompts(kind: str, *sides: str, **inputs) -> Callable[[Graph], None]:
    """Puts one of core's nodes behind prompts, the positive one if none is named."""
    def patch(graph: Graph) -> None:
        for side in sides or ("positive",):
            graph.on[side] = graph.add(kind, conditioning=graph.on[side], **inputs)
    return patch


def together(graph: Graph) -> None:
    weak = graph.add("ConditioningSetAreaStrength", conditioning=graph.on["other"], strength=0.4)
    early = graph.add("ConditioningSetTimestepRange", conditioning=graph.on["other"], start=0.0, end=0.5)
    both = graph.add("ConditioningCombine", conditioning_1=graph.on["positive"], conditioning_2=weak)
    graph.on["positive"] = graph.add("ConditioningCombine", conditioning_1=both, conditioning_2=early)


def with_default(graph: Graph) -> None:
    weak = graph.add("ConditioningSetAreaStrength", conditioning=graph.on["positive"], strength=0.6)
    graph.on["positive"] = graph.add("ConditioningSetDefaultCombine", cond=weak, cond_DEFAULT=graph.on["other"])


def controlled(graph: Graph, pictures: int = 1) -> None:
    image = graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0xE03010)
    if pictures == 2:
        other = graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0x1030E0)
        image = graph.add("ImageBatch", image1=image, image2=other)
    net = graph.add("ControlNetLoader", control_net_name="random.safetensors")
    link = graph.add("ControlNetApplyAdvanced", positive=graph.on["positive"], negative=graph.on["negative"],
                     image=image, control_net=net, strength=0.5, start_percent=0.0, end_percent=0.9)
    graph.on.update(positive=link, negative=[link[0], 1])


def hooked(graph: Graph) -> None:
    first = graph.add("CreateHookKeyframe", strength_mult=0.0, start_percent=0.0)
    keyframes = graph.add("CreateHookKeyframe", strength_mult=1.0, start_percent=0.3, prev_hook_kf=first)
    hooks = graph.add("CreateHookLoraModelOnly", lora_name="random.safetensors", strength_model=1.0)
    hooks = graph.add("SetHookKeyframes", hooks=hooks, hook_kf=keyframes)
    graph.on["positive"] = graph.add("ConditioningSetProperties", cond_NEW=graph.on["positive"], strength=1.0,
                                     set_cond_area="default", hooks=hooks)


def masked(side: str) -> Callable[[Graph], None]:
    def patch(graph: Graph) -> None:
        mask = graph.add("SolidMask", value=0.5, width=64, height=64)
        part = graph.add("ConditioningSetMask", conditioning=graph.on[side], mask=mask, strength=1.0,
                         set_cond_area="default")
        graph.on[side] = graph.add("ConditioningCombine", conditioning_1=part, conditioning_2=graph.on["other"])
    return patch


def with_area(graph: Graph) -> None:
    part = graph.add("ConditioningSetAreaPercentage", conditioning=graph.on["positive"], width=1.0, height=0.5, x=0.0,
                     y=0.0, strength=1.0)
    graph.on["positive"] = graph.add("ConditioningCombine", conditioning_1=part, conditioning_2=graph.on["other"])


def referring(graph: Graph) -> None:
    graph.on["positive"] = graph.add("ReferenceLatent", conditioning=graph.on["positive"], latent=["size", 0])


def in_8_bits(graph: Graph) -> None:
    graph.on["model"] = graph.add("UNETLoader", unet_name="network.safetensors", weight_dtype="fp8_e4m3fn")


@dataclass(frozen=True)
class Promise:
    """names: the nodes that it is about. seen: those whose results differ from those without the patch; all others are
    the same. equal: those of ours that are one of core's. core: whether core's nodes run at all."""

    patch: Callable[[Graph], None]
    seen: frozenset[str] | set[str]
    kind: str = "U-Net"
    names: frozenset[str] | set[str] = EVERY
    equal: frozenset[str] | set[str] = frozenset(EQUAL)
    core: bool = True
    # With a terminal SNR of zero a sampling begins at sigma 4518, where single precision knows a latent to 5e-4.
    rounding: float = 1e-3


# Honoured as core does, because no mean of features is taken.
AS_CORE = {"average", "shared_average", "tree", "from_a_seed", "d4m", "mgd3"}
# A batch of the user's own latents.
READ = {"features", "represented", "memorised"}  # at the middle block
BY_ROW = {"inverted", "null_text", "sampled", "from_a_seed", *READ}
PROMISES = {
    "several entries, strengths and ranges": Promise(together, PROMPTED),
    "a default entry": Promise(with_default, PROMPTED),
    "a number in the conditioning": Promise(on_prompts("FluxGuidance", "positive", "negative", guidance=3.5), set()),
    "a number in SD3's": Promise(on_prompts("FluxGuidance", "positive", guidance=3.5), set(), "transformer"),
    # On a U-Net it is added behind the middle block.
    "a ControlNet": Promise(controlled, PROMPTED - READ - {"probe"}),
    "RescaleCFG": Promise(on_model("RescaleCFG", multiplier=0.7), GUIDED),
    "a LoRA": Promise(on_model("LoraLoaderModelOnly", lora_name="random.safetensors", strength_model=1.0), EVERY),
    "a LoRA in bypass mode": Promise(on_model("LoraLoaderBypassModelOnly", lora_name="random.safetensors",
                                              strength_model=1.0), EVERY),
    "a hypernetwork": Promise(on_model("HypernetworkLoader", hypernetwork_name="random.pt", strength=1.0), EVERY),
    "perturbed attention": Promise(on_model("PerturbedAttentionGuidance", scale=3.0), AT_1_TOO),
    "self-attention guidance": Promise(on_model("SelfAttentionGuidance", scale=0.5, blur_sigma=2.0), AT_1_TOO),
    # It pushes away from the negative prompt, and a reconstruction has none: its two prompts are the same.
    "normalized attention guidance": Promise(on_model("NAGuidance", nag_scale=5.0, nag_alpha=0.5, nag_tau=1.5),
                                             AT_1_TOO - {"reconstructed"}),
    "projected guidance": Promise(on_model("APG", eta=0.5, norm_threshold=5.0, momentum=0.0), AT_1_TOO),
    # Of three the demo has nothing for them to change: channels of another number, too few tokens.
    "FreeU": Promise(on_model("FreeU_V2", b1=1.3, b2=1.4, s1=0.9, s2=0.2), set()),
    "HyperTile": Promise(on_model("HyperTile", tile_size=32, swap_size=2, max_depth=1, scale_depth=False), set()),
    "ToMe": Promise(on_model("TomePatchModel", ratio=0.5), set()),
    # The network is asked the same.
    "v": Promise(on_model("ModelSamplingDiscrete", sampling="v_prediction", zsnr=False), EVERY - READ - {"probe"}),
    # The probe reads pure noise here, which is the same under all laws.
    "v with zero terminal SNR": Promise(on_model("ModelSamplingDiscrete", sampling="v_prediction", zsnr=True),
                                        EVERY - {"probe"}, rounding=5e-3),
    "lcm": Promise(on_model("ModelSamplingDiscrete", sampling="lcm", zsnr=False), EVERY - {"probe"}),
    "weights of 8 bits": Promise(in_8_bits, EVERY),
    "EasyCache": Promise(on_model("EasyCache", reuse_threshold=3.0, start_percent=0.0, end_percent=1.0, verbose=False),
                         set(), equal=set()),
    "LazyCache": Promise(on_model("LazyCache", reuse_threshold=3.0, start_percent=0.0, end_percent=1.0, verbose=False),
                         set(), equal=set()),
    "EasyCache on SD3": Promise(on_model("EasyCache", reuse_threshold=3.0, start_percent=0.0, end_percent=1.0,
                                         verbose=False), set(), "transformer", equal=set()),
    "TorchCompileModel": Promise(on_model("TorchCompileModel", backend="inductor"), set(), core=False,
                                 names=EVERY - {"from_a_seed"}),
    "a shift of SD3": Promise(on_model("ModelSamplingSD3", shift=5.0), EVERY - {"embedding", "probe"},
                              "transformer"),
    "skipped layers": Promise(on_model("SkipLayerGuidanceDiT", double_layers="1", single_layers="", scale=3.0,
                                       start_percent=0.0, end_percent=1.0, rescaling_scale=0.0), AT_1_TOO,
                              "transformer"),
    "a hint for each latent": Promise(lambda graph: controlled(graph, 2), BY_ROW - READ, names=BY_ROW),
    "an area": Promise(with_area, AS_CORE, names=AS_CORE),
    "a mask": Promise(masked("positive"), AS_CORE, names=AS_CORE),
    "a scheduled LoRA": Promise(hooked, AS_CORE - {"tree"}, names=AS_CORE - {"tree"}),
}
NO_REGION = "mental averages cannot use: connect a plain prompt for the whole picture"
ONE_OF_EACH_ROOM = {"aligned", "average", "sampled", "lora", "probe"}
# What is refused, by which nodes, and in which words. Laws of noise are refused where all nodes look at the model.
REFUSED = {
    "an area": (with_area, PROMPTED - AS_CORE, f"carries an area, which {NO_REGION}"),
    "a mask": (masked("negative"), PROMPTED - AS_CORE - READ - {"lora", "reconstructed"},
               f"The negative conditioning carries a mask, which {NO_REGION}"),
    "a scheduled LoRA": (hooked, PROMPTED - AS_CORE, f"carries a scheduled LoRA or another hook, which {NO_REGION}"),
    "a scheduled LoRA in a tree": (hooked, {"tree"}, "cannot be used where noise rises again"),
    "a reference picture": (referring, PROMPTED - AS_CORE, f"carries a reference picture, which {NO_REGION}"),
    "hints for single latents": (lambda graph: controlled(graph, 2), PROMPTED - BY_ROW,
                                 "conditioning has a ControlNet with 2 different hints, one for each"),
    "a law of noise": (on_model("ModelSamplingDiscrete", sampling="img_to_img", zsnr=False), ONE_OF_EACH_ROOM,
                       "The noise law IMG_TO_IMG of this model is not supported"),
    "data of another size": (on_model("ModelSamplingContinuousEDM", sampling="edm", sigma_max=120.0, sigma_min=0.002),
                             ONE_OF_EACH_ROOM, "This model is made for data of standard deviation 0.5 (sigma_data)"),
}


@pytest.mark.parametrize("name", PROMISES)
def test_promise(server, kinds, plain, name):
    promise = PROMISES[name]
    expected, graph = plain(promise.kind), Graph(kinds[promise.kind])
    names = promise.names & expected.keys()
    promise.patch(graph)
    found = everything(server, graph, names, promise.core)
    differing = {key for key in names if relative(found[key], expected[key]) > ROUNDING}
    assert differing == promise.seen & names
    if promise.core:
        assert_equal(found, promise.equal & names, promise.rounding)


def assert_equal(found, names, rounding=1e-3):
    for ours in names:
        torch.testing.assert_close(found[ours], found[EQUAL[ours]], rtol=rounding, atol=rounding,
                                   msg=lambda text, ours=ours: f"{ours} and {EQUAL[ours]}: {text}")


@pytest.mark.parametrize("kind", MISSING)
def test_predictions_are_cores_without_a_patch(plain, kind):
    assert_equal(plain(kind), EQUAL)


@pytest.mark.parametrize("name, case", [(name, case) for case, (_, names, _) in REFUSED.items()
                                        for name in sorted(names)])
def test_refused(server, kinds, case, name):
    patch, _, sentence = REFUSED[case]
    graph = Graph(kinds["U-Net"])
    patch(graph)
    NODES[name](graph)
    with pytest.raises(comfy_server.PromptError) as refusal:
        graphs.run(server, graph)
    assert sentence in refusal.value.message


def test_no_embedding_is_trained_for_a_transformer(server, kinds):
    graph = Graph(kinds["transformer"])
    NODES["embedding"](graph)
    with pytest.raises(comfy_server.PromptError, match="not that of SD1.5 or SDXL.*use TrainModeLoRA"):
        graphs.run(server, graph)
