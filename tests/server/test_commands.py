"""The commands of tools/, as far as they go without preparing anything."""
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import carry
import environment
import launch
import run_benchmark
import workspace
from console import Explained
from installing import child_variables


def command(name, *arguments):
    return subprocess.run([sys.executable, str(workspace.PACK / "tools" / name), *arguments], capture_output=True,
                          text=True, timeout=60, env=child_variables())


def test_quickstart_explains_its_options():
    shown = command("quickstart.py", "--help")
    assert shown.returncode == 0
    for option in ("--prompt", "--count", "--seed", "--out", "--checkpoint", "--comfyui", "--serve"):
        assert option in shown.stdout


@pytest.mark.parametrize("arguments, message", [
    (["--count", "0"], "--count 0 is out of range: it must be between 1 and 100000."),
    (["--checkpoint", "missing.safetensors"], "missing.safetensors does not exist."),
])
def test_quickstart_refuses_what_cannot_work_before_it_prepares_anything(arguments, message):
    refused = command("quickstart.py", *arguments)
    assert refused.returncode == 1
    assert message in refused.stderr and "Traceback" not in refused.stderr


def test_unknown_benchmark_is_answered_with_those_that_exist():
    refused = command("run_benchmark.py", "nonexistent")
    assert refused.returncode == 1
    assert "There is no benchmark called nonexistent." in refused.stderr and "Traceback" not in refused.stderr
    found = run_benchmark.scripts(run_benchmark.BENCHMARKS)
    assert {"alignment_speed", "demo_model", "modes", "unchanged"} <= found.keys()
    assert f"There are: {', '.join(sorted(found))}." in refused.stderr


def test_help_for_benchmarks_lists_them():
    shown = command("run_benchmark.py", "--help")
    assert shown.returncode == 0
    listed = " ".join(shown.stdout.split())
    assert all(name in listed for name in run_benchmark.scripts(run_benchmark.BENCHMARKS))


def test_benchmarks_are_the_scripts_of_all_folders_without_what_they_share(tmp_path):
    for name in ("top.py", "room/one.py", "room/_part.py", "room/notes.txt", "support/shared.py", "_old/two.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = run_benchmark.scripts(tmp_path)
    assert found == {"top": tmp_path / "top.py", "one": tmp_path / "room" / "one.py"}


def test_two_benchmarks_of_one_name_are_refused(tmp_path):
    for room in ("one", "other"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "speed.py").touch()
    with pytest.raises(Explained, match="Two benchmarks are called speed"):
        run_benchmark.scripts(tmp_path)


def test_a_checkpoint_that_is_no_demo_model_is_not_previewed_with_their_decoders(tmp_path):
    """It stays in the folder, and the next server knows nothing of how it came there."""
    def method():
        given = launch.arguments(environment.Environment(Path(sys.executable), tmp_path), tmp_path / "base")
        return given[given.index("--preview-method") + 1]

    assert method() == "taesd"
    for name in (workspace.DEMO_CHECKPOINT, workspace.TRANSFORMER_CHECKPOINT):
        (tmp_path / "base" / "models" / "checkpoints" / name).touch()
    for name in ("put_checkpoints_here", ".DS_Store"):
        (tmp_path / "base" / "models" / "checkpoints" / name).touch()
    assert method() == "taesd"
    (tmp_path / "sd15.safetensors").touch()
    workspace.add_checkpoint(tmp_path / "base", tmp_path / "sd15.safetensors")
    assert method() == "latent2rgb"


def test_models_in_linked_folders_are_not_previewed_with_them_either(tmp_path):
    elsewhere = tmp_path / "models"
    elsewhere.mkdir()
    (elsewhere / "flux.safetensors").touch()
    workspace.make_base(tmp_path / "base")
    assert not workspace.holds_others(tmp_path / "base")
    (tmp_path / "base" / "models" / "diffusion_models").symlink_to(elsewhere, target_is_directory=True)
    assert workspace.holds_others(tmp_path / "base")


@pytest.mark.parametrize("name", [workspace.PREVIEWS, "taesd_decoder.pth"])
def test_a_decoder_of_the_users_is_never_replaced(tmp_path, name):
    own = workspace.make_base(tmp_path) / "models" / "vae_approx" / name
    own.write_text("mine")
    os.utime(own, (0, 0))
    said = []
    workspace.assemble(workspace.PREVIEWS, environment.Environment(Path(sys.executable), tmp_path), tmp_path,
                       said.append)
    assert own.read_text() == "mine" and list(own.parent.iterdir()) == [own]
    assert len(said) == 1 and said[0].startswith(f"{own} is not known to have been assembled here, and stays. Move it ")


def test_a_decoder_that_was_assembled_is_replaced_when_it_is_old(tmp_path):
    target, said = tmp_path / "models" / "vae_approx" / workspace.PREVIEWS, []

    def assemble():
        workspace.assemble(workspace.PREVIEWS, environment.Environment(Path(sys.executable), tmp_path), tmp_path,
                           said.append)

    assemble()
    os.utime(target, (0, 0))
    assemble()
    assert target.stat().st_mtime > 0 and said == 2 * ["Assembling the decoder of the demo model's previews."]
    target.write_text("mine")
    os.utime(target, (0, 0))
    assemble()
    assert target.read_text() == "mine"


def test_a_decoder_of_the_first_weights_is_replaced_though_no_record_tells_of_it(tmp_path, monkeypatch):
    target = workspace.make_base(tmp_path) / "models" / "vae_approx" / workspace.PREVIEWS
    target.write_text("the first decoder")
    os.utime(target, (0, 0))
    monkeypatch.setattr(workspace, "UNRECORDED", {hashlib.sha256(target.read_bytes()).hexdigest()})
    workspace.assemble(workspace.PREVIEWS, environment.Environment(Path(sys.executable), tmp_path), tmp_path, print)
    assert target.stat().st_size > 2**20


def test_nothing_of_an_archive_is_written_elsewhere(tmp_path):
    """`".." in path.parents` is always false: the parts of the path have to be asked."""
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as members:
        for name in ("top/vendor/ComfyUI/main.py", "top/vendor/ComfyUI/../../outside.py", "top/other.py",
                     "top/vendor/ComfyUI/a/../../../../outside.py"):
            member = tarfile.TarInfo(name)
            member.size = 2
            members.addfile(member, io.BytesIO(b"ok"))
        link = tarfile.TarInfo("top/vendor/ComfyUI/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        members.addfile(link)
    folder = tmp_path / "a" / "b" / "ComfyUI"
    environment.unpack_comfyui(archive, folder)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [archive, folder / "main.py"]


def test_carried_comfyui_is_without_what_is_large(tmp_path):
    large = carry.LARGEST + 1
    for name, size in (("main.py", 10), ("comfy/sd.py", 10), ("comfy/text_encoders/x/tokenizer.json", large),
                       ("comfy/sd1_tokenizer/vocab.json", large), ("tests/test_it.py", 10),
                       ("comfy/__pycache__/sd.pyc", 10)):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    carry.copy_comfyui(tmp_path / "source", tmp_path / "target")
    found = {path.relative_to(tmp_path / "target").as_posix()
             for path in (tmp_path / "target").rglob("*") if path.is_file()}
    assert found == {"main.py", "comfy/sd.py", "comfy/sd1_tokenizer/vocab.json"}


@pytest.mark.parametrize("allowed, code", [("numpy", 0), ("safetensors", 1)])
def test_packages_that_a_machine_lacks_are_hidden(tmp_path, allowed, code):
    (tmp_path / "sitecustomize.py").write_text(carry.GUARD)
    tried = subprocess.run([sys.executable, "-c", "import json, numpy"], capture_output=True, text=True, timeout=60,
                           env={**child_variables(), "PYTHONPATH": str(tmp_path), "CARRY_PACKAGES": allowed})
    assert tried.returncode == code, tried.stderr
    assert ("No module named 'numpy' (hidden)" in tried.stderr) == bool(code)
