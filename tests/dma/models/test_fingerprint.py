"""Fingerprints differ where models do, at whatever noise level and in whatever part of a picture."""
import pytest
import torch
from toys import LinearGaussian, sigmas

from mental_averages.dma.models import fingerprint

SHAPE, LEVELS = (2, 3, 3), sigmas(8)[:-1].tolist()


class Patched(LinearGaussian):
    """A model with a patch that acts at one noise level, on the first value alone."""

    def __init__(self, level, what, **options):
        super().__init__(**options)
        self.level, self.what = level, what

    def denoise(self, x, sigma):
        return self.changed(super().denoise(x, sigma), sigma, "denoise")

    def features(self, x, sigma):
        return self.changed(super().features(x, sigma), sigma, "features")

    def changed(self, answer, sigma, what):
        if what == self.what and sigma == self.level:
            answer = answer.clone()
            answer.flatten()[0] += 1e-3
        return answer


def test_a_row_for_every_answer():
    denoiser = LinearGaussian()
    found = fingerprint(denoiser, LEVELS, SHAPE, features_at=LEVELS[:3])
    assert found.shape == (8 + 3, 1024) and denoiser.feature_rows == 3
    assert torch.equal(found[:8], fingerprint(denoiser, LEVELS, SHAPE))


@pytest.mark.parametrize("shape", [SHAPE, (4, 32, 32)])
@pytest.mark.parametrize("what, index", [("denoise", 0), ("denoise", 5), ("denoise", 7), ("features", 0),
                                         ("features", 2)])
def test_a_patch_of_one_level_changes_that_row_alone(shape, what, index):
    plain, patched = (fingerprint(denoiser, LEVELS, shape, features_at=LEVELS[:3])
                      for denoiser in (LinearGaussian(shape=shape), Patched(LEVELS[index], what, shape=shape)))
    row = index + 8 * (what == "features")
    assert [number for number in range(11) if not torch.equal(plain[number], patched[number])] == [row]
    assert (plain[row] - patched[row]).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_distances_are_those_of_whole_answers():
    """Relative distances of sketches of 1024 numbers are right to 1 / sqrt(512)."""
    shape, level = (4, 64, 64), LEVELS[4]
    models = [LinearGaussian(shape=shape, seed=seed, features=1) for seed in range(6)]
    sketches = [fingerprint(model, [level], shape)[0] for model in models]
    for model, sketch in zip(models[1:], sketches[1:]):
        whole = (1 - 0.25 / (0.25 + level**2)) * (model.mean - models[0].mean)
        assert (sketch - sketches[0]).norm().item() == pytest.approx(whole.norm().item(), rel=0.12)


def test_the_same_model_is_the_same():
    one, same, other = (fingerprint(LinearGaussian(seed=seed), LEVELS, SHAPE) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.allclose(one, other)
