"""Make what a machine without a network needs to run this checkout: a ComfyUI and the packages that it lacks.

    python tools/carry.py OUTPUT.tar.gz training  --installed LIST      for demo/gpu_day.sh
    python tools/carry.py OUTPUT.tar.gz benchmark --installed LIST      for benchmarks/models/full_size.py

LIST is a file with the names of the packages that the machine has, such as `python -m pip list --format=freeze` prints
there. The archive holds `ComfyUI`, without what is large and not needed, and `site`, the packages to put on its
PYTHONPATH, for the Python version of --python. That nothing is missing is tried here, in a Python that finds no other
package than those that LIST and the archive name, each in the build that is installed here: wheels for another Python
version cannot be tried.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

import environment as environments
import workspace
from console import Explained, run, say
from installing import child_variables, tail

# Prints the distributions that the imports of a task have loaded.
TASKS = {
    "training": """
import networks, text_table, train, train_clip, train_transformer, transformer
from pathlib import Path
networks.import_comfyui(Path(os.environ["MENTAL_AVERAGES_COMFYUI"]))
networks.build_autoencoder(), networks.build_unet("tiny"), transformer.build()
text_table.token_ids("red heart")
from scipy.optimize import linear_sum_assignment
from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast
from PIL import Image
""",
    "benchmark": """
import pack
pack.load_pack()
pack.load_comfyui()
import comfy_aimdo.control, comfy_aimdo.model_vbar, latent_preview, support
from mental_averages.nodes import comfyui
from mental_averages.dma import alignment, figures, mean_shift, models, solvers
""",
}
PROBE = """
import importlib.metadata, json, os, sys
{imports}
known = importlib.metadata.packages_distributions()
print(json.dumps(sorted({{name for module in list(sys.modules) for name in known.get(module.split(".")[0], ())}})))
"""
# Loaded by Python on start: hides every package that is not in CARRY_PACKAGES, as if it were not installed.
GUARD = """
import importlib.metadata, os, sys

_allowed = set(os.environ["CARRY_PACKAGES"].split(","))
_known = importlib.metadata.packages_distributions()


class _Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        owners = _known.get(name.partition(".")[0])
        if owners and not {owner.lower().replace("_", "-").replace(".", "-") for owner in owners} & _allowed:
            raise ModuleNotFoundError(f"No module named {name!r} (hidden)", name=name)


sys.meta_path.insert(0, _Hidden)
"""
LEFT_OUT = ("blueprints", "comfy_api_nodes", "tests", "tests-unit", ".github", ".ci", "models", "input", "output",
            "script_examples", "user", "openapi.yaml")
LARGEST = 2**18  # bytes: larger files are tokenizers of other models
KEPT = "sd1_tokenizer"
PURE = {"comfy-kitchen"}  # its compiled wheel is 43 MiB of kernels for weights of types that nothing here has
PLATFORMS = tuple(f"manylinux_2_{minor}_x86_64" for minor in (34, 31, 28, 27, 24, 17)) + ("manylinux2014_x86_64",)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="carry.py", description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--installed", type=Path, required=True, help="file with the names of the machine's packages")
    parser.add_argument("--python", default="3.12", help="the machine's Python version")
    options = parser.parse_args(arguments)
    environment = environments.prepare(say)
    there = {normal(name) for name in re.findall(r"^[\w.-]+", options.installed.read_text(encoding="utf-8"), re.M)}
    needed = probe(environment, environment.comfyui, options.task, {})
    missing = sorted(name for name in needed if normal(name) not in there and not name.startswith("nvidia-"))
    say(f"To carry: {', '.join(missing) or 'no package'}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in missing:
            unpack_wheel(environment, name, options.python, folder)
        copy_comfyui(environment.comfyui, folder / "ComfyUI")
        guard = folder / "guard"
        guard.mkdir()
        (guard / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
        allowed = ",".join(sorted(there | {normal(name) for name in missing}))
        probe(environment, folder / "ComfyUI", options.task,
              {"PYTHONPATH": str(guard), "CARRY_PACKAGES": allowed, "HF_HUB_OFFLINE": "1"})
        options.output.parent.mkdir(parents=True, exist_ok=True)
        temporary = options.output.with_suffix(".tmp")
        with tarfile.open(temporary, "w:gz", compresslevel=5) as archive:
            for part in filter(Path.exists, (folder / "ComfyUI", folder / "site")):
                archive.add(part, part.name, filter=lambda entry: None if "__pycache__" in entry.name else entry)
        os.replace(temporary, options.output)
    say(f"{options.output}: {options.output.stat().st_size / 2**20:.1f} MiB, started here with packages of these names "
        "only.")
    return 0


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def probe(environment: environments.Environment, comfyui: Path, task: str, variables: dict[str, str]) -> list[str]:
    """The distributions that a task loads, with that ComfyUI; raises `Explained` with what it lacked."""
    paths = [workspace.PACK / part for part in ("tools", "demo", "benchmarks")]
    script = f"import os, sys\nsys.path[:0] = {list(map(str, paths))!r}\n" + PROBE.format(imports=TASKS[task])
    done = subprocess.run([str(environment.python), "-c", script], capture_output=True, text=True, errors="replace",
                          env={**child_variables(), "MENTAL_AVERAGES_COMFYUI": str(comfyui), **variables})
    if done.returncode:
        raise Explained(f"With these packages the {task} does not start:\n{tail(done.stderr)}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def copy_comfyui(source: Path, target: Path) -> None:
    """A ComfyUI without its frontend's pages, tests and the tokenizers of large text encoders."""
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        large = path.is_file() and path.stat().st_size > LARGEST and KEPT not in inside.parts
        if not path.is_file() or inside.parts[0] in LEFT_OUT or "__pycache__" in inside.parts or large:
            continue
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        (target / inside).write_bytes(path.read_bytes())


def unpack_wheel(environment: environments.Environment, name: str, python: str, folder: Path) -> None:
    """Put the version of a package that is used here into folder/site."""
    version = subprocess.run([str(environment.python), "-c",
                              f"import importlib.metadata as m; print(m.version({name!r}))"],
                             capture_output=True, text=True, check=True, env=child_variables()).stdout.strip()
    wheels = folder / "wheels" / normal(name)
    common = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
              "--python-version", python, "--dest", str(wheels), f"{name}=={version}"]
    # A choice of compiled wheels takes one for every platform, too, where there is nothing else.
    choice = (["--implementation", "py", "--abi", "none", "--platform", "any"] if normal(name) in PURE else
              ["--implementation", "cp", *(word for platform in PLATFORMS for word in ("--platform", platform))])
    found = subprocess.run([str(environment.python), *common, *choice], capture_output=True, text=True,
                           errors="replace", env=child_variables())
    if found.returncode:
        raise Explained(f"There is no wheel of {name} {version} for Python {python} on Linux:\n{tail(found.stderr)}")
    wheel = next(wheels.glob("*.whl"))
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    say(f"  {wheel.name}: {wheel.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    run(main)
