"""What holds one entry for each latent of a batch besides the latents: ControlNet hints, pooled prompts, masks.

Core gives latent k of a batch entry k, and begins again when there are fewer entries than latents. A Denoiser sees the
batch in parts, so the entries have to be dealt out to each part here; core would begin with the first one every time.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import comfy.conds
import comfy.model_patcher
import torch
from torch import Tensor

Conditions = dict[str, list[dict]]  # of a CFGGuider, by the name of its side
# What core's patches that draw pictures into blocks call theirs.
PICTURES_OF_PATCHES = ("image", "inpaint_image", "encoded_image", "mask", "hint_latent")
LAYERS_FIRST = ("UsoStyleProjectorPatch",)  # whose pictures come after the layers of their encoder: (L, N, T, D)
# Core's functions of guidance, and after it, that take a mean over the batch or cannot take more than one latent, by
# their names.
MIXING_ROWS = ("Mahiro.execute.<locals>.mahiro_normd", "PerpNeg.execute.<locals>.cfg_function",
               "RenormCFG.execute.<locals>.renorm_cfg_func",
               "TemporalScoreRescaling.execute.<locals>.temporal_score_rescaling")
GUIDANCE, AFTER_GUIDANCE = "sampler_cfg_function", "sampler_post_cfg_function"
# Core's functions after guidance that ask the model again for the whole batch, and take a mean over it where this
# number that they hold is not 0; and its guiders that take means themselves.
ASKING_AGAIN = {"SkipLayerGuidanceDiT.execute.<locals>.post_cfg_function": "rescaling_scale"}
MIXING_GUIDERS = ("Guider_PerpNeg",)
OF_ANOTHER_MODEL = "negative (of the second model)"  # the side of DualModelGuider


def conditions_of(guider: Any) -> Conditions:
    """The conditions that a guider in the middle of its sampling gives its model, or its two."""
    if getattr(guider, "uncond_inner", None) is None:
        return guider.conds
    return {**guider.conds, OF_ANOTHER_MODEL: guider._uncond_conds}


def give_conditions(guider: Any, conditions: Conditions) -> None:
    """Put other conditions in the place of those of a guider (`conditions_of`)."""
    guider.conds = {side: entries for side, entries in conditions.items() if side != OF_ANOTHER_MODEL}
    if OF_ANOTHER_MODEL in conditions:
        guider._uncond_conds = conditions[OF_ANOTHER_MODEL]


def per_latent(conditions: Conditions) -> list[str]:
    """What in conditions differs between the latents of a batch, in words."""
    found = []
    for side, entries in conditions.items():
        for entry in entries:
            if entry.get("control") is not None:
                for control in _chain(entry["control"]):
                    found += [f"The {side} conditioning has a ControlNet with {len(batch)} different hints"
                              for batch in _batches(control) if _differs(batch)]
            batches = [(name, batch) for name, cond in entry.get("model_conds", {}).items() for batch in _tensors(cond)]
            if isinstance(entry.get("mask"), Tensor):
                batches.append(("the mask", entry["mask"]))
            found += [f"The {side} conditioning has {len(batch)} different entries of {name}"
                      for name, batch in batches if _differs(batch)]
    return list(dict.fromkeys(found))


def of_latents(conditions: Conditions, rows: Sequence[int]) -> Conditions:
    """Conditions for some latents of a batch, by their numbers in it."""
    controls: dict[int, Any] = {}  # one copy of each, because core evaluates entries with the same one together

    def part(entry: dict) -> dict:
        entry = {**entry, "model_conds": {name: _cond_of(cond, rows)
                                          for name, cond in entry.get("model_conds", {}).items()}}
        if entry.get("control") is not None:
            entry["control"] = _control_of(entry["control"], rows, controls)
        if isinstance(entry.get("mask"), Tensor):
            entry["mask"] = _dealt(entry["mask"], rows)
        return entry

    return {side: [part(entry) for entry in entries] for side, entries in conditions.items()}


def check_patches(model_options: dict) -> None:
    """Raise ValueError if a patch of the model holds several pictures: core deals them out to the latents and sides of
    guidance that happen to be evaluated together."""
    options = model_options.get("transformer_options", {})
    patches = [patch for group in options.get("patches", {}).values() for patch in group]
    patches += [patch for group in options.get("patches_replace", {}).values() for patch in group.values()]
    for patch in _owners(patches):
        for name in PICTURES_OF_PATCHES:
            held = getattr(patch, name, None)
            if not isinstance(held, Tensor) or held.ndim <= 2:
                continue
            count = held.shape[1 if type(patch).__name__ in LAYERS_FIRST else 0]
            if count > 1:
                raise ValueError(f"A patch of this model ({type(patch).__name__}) holds {count} pictures, "
                                 "one for each latent, which cannot be dealt out: connect one picture to the node that "
                                 "made it.")
        # IPAdapter's batches, one picture for each latent evaluated together, counted from the first every time.
        for given in _dicts(getattr(patch, "kwargs", None)):
            pictures = given.get("cond")
            if given.get("unfold_batch") and isinstance(pictures, Tensor) and len(pictures) > 1:
                raise ValueError(f"An IPAdapter of this model unfolds a batch of {len(pictures)} pictures, one for "
                                 "each latent, which cannot be dealt out: connect one picture, or switch unfold_batch "
                                 "off.")


def _owners(patches: Iterable[Any]) -> Iterator[Any]:
    """The objects behind patches: of a method its own, of several that are put together each."""
    for patch in patches:
        if isinstance(patch, (tuple, list)):
            yield from _owners(patch)
        else:
            yield getattr(patch, "__self__", patch)


def _dicts(value: Any) -> list[dict]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def row_by_row(options: dict) -> dict:
    """A sampler's options in which another node's guidance, and what one has added after it, sees one latent at a
    time, where core would mix those of a batch, so that a latent comes out as it does alone, whatever is evaluated
    with it."""
    guidance, after = (options["model_options"].get(GUIDANCE), options["model_options"].get(AFTER_GUIDANCE, []))
    if not any(map(_mixes, (guidance, *after))):
        return options
    model_options = comfy.model_patcher.create_model_options_clone(options["model_options"])
    if _mixes(guidance):
        model_options[GUIDANCE] = _alone(guidance)
    model_options[AFTER_GUIDANCE] = [_alone(function) if _mixes(function) else function for function in after]
    return {**options, "model_options": model_options}


def mixes_latents(guider: Any, model_options: dict) -> bool:
    """Whether a guider, or what has been added after guidance, mixes the latents of a batch where they cannot be taken
    apart, so that each has to be asked of it alone."""
    return type(guider).__name__ in MIXING_GUIDERS or any(map(_mixes_answers, model_options.get(AFTER_GUIDANCE, [])))


def _mixes_answers(function: Any) -> bool:
    name = ASKING_AGAIN.get(getattr(function, "__qualname__", ""))
    return name is not None and any(held == name and cell.cell_contents != 0 for held, cell in zip(
        function.__code__.co_freevars, function.__closure__ or ()))


def _mixes(function: Any) -> bool:
    return getattr(function, "__qualname__", "") in MIXING_ROWS


def _alone(function: Callable[[dict], Tensor]) -> Callable[[dict], Tensor]:
    def each(arguments: dict) -> Tensor:
        count = len(arguments["input"])
        rows = {name: value.split(1) for name, value in arguments.items()
                if isinstance(value, Tensor) and value.shape[:1] == (count,)}
        return torch.cat([function({**arguments, **{name: parts[row] for name, parts in rows.items()}})
                          for row in range(count)])

    return each


def _differs(batch: Tensor) -> bool:
    return batch.ndim > 0 and len(batch) > 1 and bool((batch[1:] != batch[:1]).any())


def _dealt(batch: Tensor, rows: Sequence[int], of: int | None = None) -> Tensor:
    """The entries of a batch that latents get; `of` entries, where core first repeats the batch to as many."""
    count = len(batch)
    return batch if count == 1 else batch[[row % (of or count) % count for row in rows]]


def _tensors(cond: Any) -> Iterator[Tensor]:
    # A constant is whole for every latent.
    if not isinstance(cond, comfy.conds.CONDConstant):
        held = getattr(cond, "cond", None)
        yield from (value for value in (held if isinstance(held, list) else [held])
                    if isinstance(value, Tensor) and value.ndim)


def _cond_of(cond: Any, rows: Sequence[int]) -> Any:
    if not any(len(batch) > 1 for batch in _tensors(cond)):
        return cond
    cond = copy.copy(cond)
    cond.cond = ([_dealt(batch, rows) for batch in cond.cond] if isinstance(cond.cond, list)
                 else _dealt(cond.cond, rows))
    return cond


def _chain(control: Any) -> Iterator[Any]:
    while control is not None:
        yield control
        control = control.previous_controlnet


def _batches(control: Any) -> Iterator[Tensor]:
    """A ControlNet's hints, and what it joins to them."""
    if isinstance(control.cond_hint_original, Tensor):
        yield control.cond_hint_original
    yield from (batch for batch in control.extra_concat_orig if isinstance(batch, Tensor))


def _control_of(control: Any, rows: Sequence[int], known: dict[int, Any]) -> Any:
    if id(control) not in known:
        # Not its own copy(), which forgets what core has prepared for this sampling.
        part = known[id(control)] = copy.copy(control)
        hints = control.cond_hint_original
        if isinstance(hints, Tensor):
            part.cond_hint_original = _dealt(hints, rows)
            part.extra_concat_orig = [_dealt(batch, rows, of=len(hints)) for batch in control.extra_concat_orig]
            # What was made of all hints, or of those that another part of the batch was given.
            part.cond_hint = part.extra_concat = None
            if hasattr(part, "control_input"):
                part.control_input = None
        if control.previous_controlnet is not None:
            part.previous_controlnet = _control_of(control.previous_controlnet, rows, known)
        part.multigpu_clones = {device: _control_of(clone, rows, known)
                                for device, clone in control.multigpu_clones.items()}
    return known[id(control)]
