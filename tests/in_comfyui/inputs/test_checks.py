"""What no widget would take, for every node and every input of each: over links ComfyUI hands over anything."""
import asyncio
import math

import pytest
import torch
from alignments import gathered

FAR = 10**30


def node_classes():
    import mental_averages

    async def collect():
        return await (await mental_averages.comfy_entrypoint()).get_node_list()

    return asyncio.run(collect())


def usual(item):
    """What a new node on the page would give: nothing for sockets."""
    from comfy_api.latest import io

    if isinstance(item, io.DynamicCombo.Input):
        return chosen(item, item.options[0])
    if isinstance(item, io.Combo.Input):
        return item.default or next(iter(item.options), "")
    return getattr(item, "default", None)


def chosen(item, option, **changes):
    return {item.id: option.key, **{nested.id: usual(nested) for nested in option.inputs}, **changes}


def bad_values(item):
    """What the widget of an input would not take, with a part of the sentence that is to be said of it."""
    from comfy_api.latest import io

    if isinstance(item, (io.Int.Input, io.Float.Input)):
        yield from ((item.min - 1, f"is {item.min - 1}: choose a number from {item.min}"),
                    (FAR, f"to {item.max}"), (math.nan, "is nan: choose a "), (math.inf, "is inf: choose a "),
                    (None, "is no number but None"), ("3", "is no number but a str"))
        if isinstance(item, io.Int.Input):
            yield item.max - 0.5, "choose a whole number"
    elif isinstance(item, io.Combo.Input) and item.options:
        yield from (("nonsense", "'nonsense': choose one of"), (None, "None: choose one of"))
    elif isinstance(item, io.String.Input):
        yield from ((None, "is no text but None"), (3, "is no text but a int"))


def bad_choices(item):
    """Name and sentence of what the inputs that a choice brings would not take, those of choices among them
    too, and the value of the choice with it."""
    from comfy_api.latest import io

    for option in item.options if isinstance(item, io.DynamicCombo.Input) else ():
        for nested in option.inputs:
            for value, sentence in bad_values(nested):
                if value is not None or not nested.optional:
                    yield nested.id, sentence, chosen(item, option, **{nested.id: value})
            for name, sentence, given in bad_choices(nested):
                yield f"{nested.id}.{name}", sentence, chosen(item, option, **{nested.id: given})


def refused(node, values, *parts):
    if node.define_schema().is_input_list:
        values = {name: [value] for name, value in values.items()}
    with pytest.raises(ValueError) as refusal:
        node.execute(**values)
    assert all(part in str(refusal.value) for part in parts), f"{node.__name__}: {refusal.value}"


def test_every_number_choice_and_text_of_every_node_is_checked(comfyui):
    checked = 0
    for node in node_classes():
        inputs = node.define_schema().inputs
        values = {item.id: usual(item) for item in inputs}
        for item in inputs:
            if item.id == "layer":  # checked against the model, which may have layers that are not in the list
                continue
            for value, sentence in bad_values(item):
                refused(node, {**values, item.id: value}, item.id, sentence)
                checked += 1
            for name, sentence, given in bad_choices(item):
                refused(node, {**values, item.id: given}, f"{item.id}.{name}", sentence)
                checked += 1
    assert checked > 500


def test_a_choice_that_is_missing_or_that_there_is_not(comfyui):
    """ComfyUI leaves out a dynamic input whose choice it does not know, or that comes over a link."""
    from comfy_api.latest import _io, io

    found = 0
    for node in node_classes():
        inputs = node.define_schema().inputs
        values = {item.id: usual(item) for item in inputs}
        for item in inputs:
            if not isinstance(item, io.DynamicCombo.Input):
                continue
            found += 1
            options = ", ".join(option.key for option in item.options)
            for queued in ({}, {item.id: "nonsense"}, {item.id: ["another node", 0]}):
                _, _, dynamic = _io.get_finalized_class_inputs(node.INPUT_TYPES(), queued)
                handed_over = _io.build_nested_inputs({}, dynamic)
                assert item.id not in handed_over
                others = {key: value for key, value in values.items() if key != item.id}
                refused(node, {**others, **handed_over}, f"{item.id} has no choice", options)
            refused(node, {**values, item.id: {item.id: "nonsense"}}, f"There is no {item.id} 'nonsense'", options)
            for option in item.options:
                for nested in option.inputs:
                    if nested.optional or not any(bad_values(nested)):
                        continue
                    without = chosen(item, option)
                    without.pop(nested.id)
                    refused(node, {**values, item.id: without}, f"{item.id}.{nested.id}", "missing")
    assert found >= 8


def test_what_widgets_take_passes(comfyui):
    """The whole range, numpy's numbers, integers where any number will do, and what ComfyUI leaves None."""
    import numpy as np

    from mental_averages.nodes.inputs import check_number
    from mental_averages.nodes.interpolation import MixingWeights

    for value, kind in ((0, int), (100, int), (np.int64(7), int), (np.float32(0.5), float), (3, float), (100.0, float)):
        check_number("cfg", value, kind, 0, 100)
    with pytest.raises(ValueError, match=r"cfg is 101\.0 for mode 2: choose a number from 0 to 100"):
        check_number("cfg", 101.0, float, 0, 100, where=" for mode 2")
    assert MixingWeights.execute(2, {"mode": "first", "counts": "1"}).args[0] == "1 0"


def test_the_cases_that_users_met(comfyui, demo, prompts, empty_latent, hspace):
    from mental_averages.nodes.alignment import AlignTrajectories
    from mental_averages.nodes.baselines import ZeroLatent
    from mental_averages.nodes.figures import LabelledSheet, PlotReport
    from mental_averages.nodes.hspace import CaptureHSpace
    from mental_averages.nodes.inversion import DDIMInvert

    plain = dict(model=demo[0], positive=prompts[0], negative=prompts[1], latent_image=empty_latent, steps=2, cfg=1.0,
                 scheduler="normal", noise_scale=0.0, seed=0)
    refused(ZeroLatent, {**plain, "steps": 0}, "steps is 0: choose a number from 1 to 1000")
    refused(ZeroLatent, {**plain, "steps": -3, "scheduler": "ddim_uniform"}, "steps is -3")
    refused(ZeroLatent, {**plain, "cfg": math.nan}, "cfg is nan: choose a number from 0.0 to 100.0")
    refused(ZeroLatent, {**plain, "scheduler": "of another pack"}, "no scheduler 'of another pack'")
    refused(ZeroLatent, {**plain, "steps": 1, "scheduler": "kl_optimal"},
            "The scheduler 'kl_optimal' has no noise levels for 1 step: use more steps")
    refused(DDIMInvert, dict(model=demo[0], positive=prompts[0], latent_image=empty_latent, steps=1,
                             scheduler="kl_optimal", cfg=1.0, method={"method": "midpoint"}),
            "has no noise levels")
    aligned = dict(hspace=hspace, positive=prompts[0], negative=prompts[1], latent_image=empty_latent, count=2, steps=4,
                   cfg=1.0, scheduler="normal", seed=0)
    refused(AlignTrajectories, gathered(**aligned, iterations=-1), "preset.iterations is -1: choose a number from 0")
    refused(AlignTrajectories, gathered(**aligned, solver="Adam", learning_rate=0),
            "preset.solver.learning_rate is 0: choose a number from 0.0001")
    refused(AlignTrajectories, gathered(**aligned, batch_size=-2), "batch_size is -2: choose a number from 0")
    refused(AlignTrajectories, gathered(**{**aligned, "count": 0}), "count is 0: choose a number from 1")
    refused(CaptureHSpace, dict(hspace=hspace, positive=prompts[0], latent=empty_latent, percent=math.nan, seed=0),
            "percent is nan")
    rows = {"images0": torch.rand(1, 8, 8, 3)}
    sheet = dict(rows=rows, captions="", title="", cell=64, columns=2)
    refused(LabelledSheet, {**sheet, "columns": 0}, "columns is 0: choose a number from 1 to 64")
    refused(LabelledSheet, {**sheet, "cell": 100000}, "cell is 100000: choose a number from 32 to 1024")
    refused(PlotReport, dict(report=None, width=0), "width is 0: choose a number from 256 to 4096")


def test_none_is_taken_where_an_optional_input_is_left_out(comfyui):
    """Of an input of the node None means that only where it is its default; for one that a choice brings, ComfyUI hands
    it over for whatever the graph does not name."""
    from comfy_api.latest import io

    from mental_averages.nodes.inputs import checked

    def inputs():
        return [io.Int.Input("free", optional=True), io.Int.Input("five", default=5, optional=True),
                io.Float.Input("half", default=0.5, optional=True), io.String.Input("text", default="", optional=True),
                io.Combo.Input("kind", options=["a", "b"], default="b", optional=True),
                io.Latent.Input("latent", optional=True), io.Int.Input("needed", min=0, max=9)]

    class Node(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema("Node", inputs=[*inputs(), io.DynamicCombo.Input("choice", options=[
                io.DynamicCombo.Option("first", inputs())])])

        @classmethod
        @checked()
        def execute(cls, needed, choice, free=None, five=5, half=0.5, text="", kind="b", latent=None):
            return io.NodeOutput(free)

    nested = {"choice": "first", "needed": 1}
    plain = {"needed": 1, "choice": nested}
    assert Node.execute(**plain, free=None, latent=None).args[0] is None
    Node.execute(**{**plain, "choice": {**nested, "free": None, "latent": None}})
    for name in ("five", "half", "text", "kind"):
        refused(Node, {**plain, name: None}, name, "None")
        Node.execute(**{**plain, "choice": {**nested, name: None}})
    refused(Node, {**plain, "needed": None}, "needed", "None")
    refused(Node, {**plain, "choice": {**nested, "needed": None}}, "choice.needed", "None")


def test_a_layer_that_is_not_in_the_list_may_be_one_of_the_model(hspace, demo):
    from mental_averages.nodes.hspace import HSpaceHook

    refused(HSpaceHook, dict(model=demo[0], layer="nonsense", pooling="none"), "no layer 'nonsense'", "middle_block")


@pytest.mark.parametrize("steps", [1, 2, 20])
def test_noise_levels_of_every_scheduler_are_finite(comfyui, bridge, demo, steps):
    for scheduler in bridge.schedulers():
        try:
            levels = bridge.sigmas_of(demo[0], scheduler, steps)
        except ValueError as error:
            assert steps == 1 and "use more steps" in str(error)
            continue
        assert len(levels) >= 2 and levels.isfinite().all(), scheduler
