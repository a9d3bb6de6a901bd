"""What workers on Ray are given by tests. Here only what the tests' folders hold is imported, as workers find it."""
import functools
import os
import secrets
import time

from toys import Biased, LinearGaussian


def ray_variables():
    """For the environment of Ray: a password of its own instead of one in the user's folder, and workers that do not
    give way to other processes, beside which they need minutes to begin."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_worker_niceness": "0"}


class Tight(LinearGaussian):
    """There is memory for one latent at a time."""

    def denoise(self, x, sigma):
        if len(x) > 1:
            raise MemoryError
        return super().denoise(x, sigma)


def sources():
    """Denoisers by name, as one worker makes them."""
    return {"": LinearGaussian(), "biased": Biased(), "wide": LinearGaussian(variance=1.0), "tight": Tight()}


def greeting():
    """In place of a Denoiser: what a worker finds in its environment."""
    return os.environ.get("GREETING", "nothing")


def repeating(denoiser):
    return lambda rows: denoiser


def source_on(device):
    """They are the same on every device; a worker is told of the processor where it has no card."""
    assert device == "cpu"
    return sources()


def failing():
    raise ValueError("there is no such checkpoint")


def telling(denoiser, *, seconds=0.0, folder=None):
    """Says of each block who did it, and leaves a file that says that it was begun."""
    begun = os.getpid()

    def tell(rows, latents=None):
        if folder:
            (folder / f"{rows.start}.{os.getpid()}.{time.monotonic_ns()}").touch()
        # The first blocks take longest, so that later ones are done before them.
        time.sleep(seconds * (3 if rows.start == 0 else 1))
        return begun, rows, latents

    return tell


def breaking(denoiser):
    def work(rows):
        if rows.start >= 4:
            raise ArithmeticError(f"row {rows.start} is too large")
        return rows.start

    return work


def short_of_memory(denoiser):
    def work(rows):
        if rows.stop - rows.start > 1:
            raise MemoryError
        return rows.start

    return work


def features_of_noise(denoiser, *, shape, seed, sigma, count):
    """The features of the rows of a seed's noise, and the noise itself."""
    from mental_averages.dma.diffusion import NoiseRows

    rows_of_noise = NoiseRows(count, shape, seed)

    def values(rows):
        x = rows_of_noise[rows]
        return {"features": denoiser.features(x, sigma), "noise": x}

    return values


FEATURES = functools.partial(features_of_noise, shape=(2, 3, 3), seed=5, sigma=2.0, count=200)
