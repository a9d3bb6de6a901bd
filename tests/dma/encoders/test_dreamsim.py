"""DreamSim's distances are those of the authors' package for the same weights."""
import pytest
import torch
from published_models import pixels, write_dreamsim_files

from mental_averages.dma import encoders


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dreamsim")
    encoders.write_dreamsim(*write_dreamsim_files(folder / "files"), folder / "dreamsim")
    return encoders.load_encoder(folder / "dreamsim")


def test_the_package_gives_the_same_distances(encoder):
    """What dreamsim 0.2.1 with peft 0.21.2 gave for these weights and pixels; without the adapter it gave 0.0971 and
    0.0878."""
    with torch.no_grad():
        rows = torch.nn.functional.normalize(encoder.network(pixels(3)), dim=1)
    distances = 1 - rows[0] @ rows[1:].T
    assert distances.tolist() == pytest.approx([0.10521697998046875, 0.07284462451934814], abs=1e-5)


def test_embeddings_of_pictures_are_without_their_mean_and_of_unit_length(encoder):
    pictures = torch.rand(3, 40, 30, 3, generator=torch.Generator().manual_seed(0))
    found = encoders.embed_images(encoder, pictures)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(3), rtol=0, atol=1e-6)
    with torch.no_grad():
        expected = encoder.network(encoders.pixel_values(encoder, pictures))
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=1))


def test_pictures_are_made_square_and_normalised_as_imagenets(encoder):
    found = encoders.pixel_values(encoder, torch.ones(1, 30, 60, 3) * torch.tensor([0.485, 0.456, 0.406]))
    assert found.shape == (1, 3, 224, 224)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-5)


def test_it_answers_no_questions_and_reads_no_prompts(encoder):
    with pytest.raises(ValueError, match="is a dreamsim model"):
        encoders.check_question(encoder, "what is it?")
    with pytest.raises(ValueError, match="is a dreamsim model"):
        encoders.embed_texts(encoder, ["a cat"])
