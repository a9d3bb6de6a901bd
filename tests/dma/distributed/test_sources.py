import pytest
import torch
from pipelines import write_pipeline

from mental_averages.dma.alignment import AlignmentSettings, align
from mental_averages.dma.distributed import PipelineSource, RayWorkers
from mental_averages.dma.models import from_pipeline
from mental_averages.dma.solvers import LBFGS

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
PROMPT = "a castle by the sea"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_pipeline(tmp_path_factory.mktemp("pipeline")))


def test_it_is_the_denoiser_of_the_pipeline(folder):
    from diffusers import DiffusionPipeline

    found = PipelineSource(folder, PROMPT, guidance_scale=3.0, negative_prompt="a castle", layer="down_blocks.0")("cpu")
    expected = from_pipeline(DiffusionPipeline.from_pretrained(folder), PROMPT, guidance_scale=3.0,
                             negative_prompt="a castle", layer="down_blocks.0")
    assert torch.equal(found.denoise(X, 2.0), expected.denoise(X, 2.0))
    assert torch.equal(found.features(X, 2.0), expected.features(X, 2.0))


def test_further_ones_differ_in_their_guidance_and_share_the_network(folder):
    found = PipelineSource(folder, PROMPT, guidance_scale=3.0, further={"averaging": 1.0})("cpu")
    assert {name: each.guidance_scale for name, each in found.items()} == {"": 3.0, "averaging": 1.0}
    assert found[""].network is found["averaging"].network


def test_what_is_not_there_is_said(folder):
    with pytest.raises(ValueError, match="no folder of a pipeline at"):
        PipelineSource(folder + "/nowhere", PROMPT)("cpu")
    with pytest.raises(ValueError, match="float64"):
        PipelineSource(folder, PROMPT, precision="float64")


def test_workers_align_a_pipeline_as_one_process_does(ray, folder):
    """Its weights are read by every worker, and its gradients are taken there."""
    source = PipelineSource(folder, PROMPT, guidance_scale=2.0)
    settings = AlignmentSettings(count=4, aligned_steps=1, keep=2, solver=LBFGS(iterations=3))
    sigmas = torch.tensor([8.0, 2.0, 0.0])
    here = align(source("cpu"), sigmas, (4, 8, 8), settings)
    with RayWorkers(source, 1) as crew:
        there = align(crew.denoiser(), sigmas, (4, 8, 8), settings)
    assert torch.equal(there.latents, here.latents) and here.report.final_residual < 0.9
