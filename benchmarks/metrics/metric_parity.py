"""Our formulas beside the packages that others measure with: torch-fidelity's FID and KID, clip-mmd's CMMD.

On the features of the tests, whose recorded numbers come from here, and on pictures through torch-fidelity's Inception
network, with random weights unless its published file is named. The packages are no part of the pinned environment:
python -m pip install --no-deps --target FOLDER torch-fidelity==0.4.0 clip-mmd==0.0.2
"""
from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from support import ROOT, parse_arguments, print_table, write_figures
from torch import Tensor

from mental_averages.dma import encoders
from mental_averages.dma.metrics import clip_discrepancy, frechet_distance, kernel_subsets

SETS = ((40, 30, 6), (12, 20, 48))  # rows of both sets, and features
SUBSETS, SEED = dict(subsets=7, size=10), 2020
PICTURES, SIZE = 16, 48


def packages(folder: Path | None) -> tuple[Any, ...]:
    """torch_fidelity, its modules of FID and KID, and clip_mmd's of CMMD."""
    if folder:
        sys.path.append(str(folder.resolve()))
    try:
        import torch_fidelity
        from clip_mmd import calculation
        from torch_fidelity import feature_extractor_inceptionv3, metric_fid, metric_kid
    except ImportError as error:
        raise SystemExit(f"{error}. Install the packages into a folder and name it with --packages:\n"
                         f"{__doc__.splitlines()[-1]}") from None
    return torch_fidelity, metric_fid, metric_kid, feature_extractor_inceptionv3, calculation


def on_features(metric_fid: Any, metric_kid: Any, calculation: Any) -> dict[str, tuple[float, float]]:
    """Ours and theirs of the features that the tests have, by a name."""
    sys.path.append(str(ROOT / "tests" / "support"))
    from wavy_features import wavy

    found = {}
    for count, others, width in SETS:
        first, second = wavy(count, width, 0.0), wavy(others, width, 0.4)
        statistics = [metric_fid.fid_features_to_statistics(each) for each in (first, second)]
        fid = metric_fid.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
        kid = metric_kid.kid_features_to_metric(first, second, kid_subsets=SUBSETS["subsets"], rng_seed=SEED,
                                                kid_subset_size=SUBSETS["size"], verbose=False)
        unit = [torch.nn.functional.normalize(each, dim=1) for each in (first, second)]
        ours = kernel_subsets(first, second, seed=SEED, **SUBSETS)
        for name, pair in (("fid", (frechet_distance(first, second), fid)),
                           ("kid", (ours.mean, kid["kernel_inception_distance_mean"])),
                           ("kid_deviation", (ours.deviation, kid["kernel_inception_distance_std"])),
                           ("cmmd", (clip_discrepancy(first, second).value, float(calculation.mmd(*unit))))):
            found[f"{name}_{count}_{others}_{width}"] = pair
    return found


def on_pictures(torch_fidelity: Any, module: Any, published: Path | None) -> dict[str, tuple[float, float]]:
    """Ours and theirs of pictures through the Inception network."""
    generator = torch.Generator().manual_seed(0)
    coarse = [torch.rand(PICTURES, 3, 4, 4, generator=generator) ** power for power in (1.0, 1.5)]
    pictures = [torch.nn.functional.interpolate(each, (SIZE, SIZE)).permute(0, 2, 3, 1) for each in coarse]
    with tempfile.TemporaryDirectory() as written:
        folder = Path(written)
        source = published or random_weights(module, folder / "random.pth")
        encoders.write_inception(source, folder / "inception.safetensors")
        network = encoders.load_inception(folder / "inception.safetensors")
        features = [encoders.inception_features(network, each) for each in pictures]
        theirs = torch_fidelity.calculate_metrics(
            **{f"input{number}": _Pictures(each) for number, each in enumerate(pictures, 1)}, fid=True, kid=True,
            cuda=False, cache=False, verbose=False, feature_extractor_weights_path=str(source), rng_seed=SEED,
            kid_subsets=SUBSETS["subsets"], kid_subset_size=SUBSETS["size"], save_cpu_ram=True)
    ours = kernel_subsets(*features, seed=SEED, **SUBSETS)
    return {"fid_of_pictures": (frechet_distance(*features), theirs["frechet_inception_distance"]),
            "kid_of_pictures": (ours.mean, theirs["kernel_inception_distance_mean"]),
            "kid_deviation_of_pictures": (ours.deviation, theirs["kernel_inception_distance_std"])}


def random_weights(module: Any, path: Path) -> Path:
    """A file like the published one, of random numbers that neither grow nor vanish from layer to layer."""
    torch.save({}, path)
    torch.manual_seed(0)
    with mock.patch.object(module.FeatureExtractorInceptionV3, "load_state_dict"):
        network = module.FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path=str(path))
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.normal_(std=(2 / parameter[0].numel()) ** 0.5)
    torch.save(network.state_dict(), path)
    return path


class _Pictures(torch.utils.data.Dataset):
    """Pictures (N, H, W, 3) in [0, 1] as torch-fidelity takes them."""

    def __init__(self, pictures: Tensor) -> None:
        self.pixels = (255 * pictures).round().to(torch.uint8).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, place: int) -> Tensor:
        return self.pixels[place]


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0],
        packages=dict(type=Path, help="the folder that torch-fidelity and clip-mmd are installed in"),
        weights=dict(type=Path, help="torch-fidelity's weights-inception-2015-12-05-6726825d.pth"))
    torch_fidelity, metric_fid, metric_kid, module, calculation = packages(arguments.packages)
    found = on_features(metric_fid, metric_kid, calculation) | on_pictures(torch_fidelity, module, arguments.weights)
    apart = {name: abs(ours - theirs) / abs(theirs) for name, (ours, theirs) in found.items()}
    print_table(["number", "ours", "theirs", "relative difference"],
                [[name, repr(ours), repr(theirs), f"{apart[name]:.1e}"] for name, (ours, theirs) in found.items()])
    write_figures(apart, arguments.json)


if __name__ == "__main__":
    main()
