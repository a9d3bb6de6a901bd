import os
import shutil
import threading

import pytest
import torch

from mental_averages.dma.statistics import (
    BLOCK,
    MomentTree,
    PairedMoments,
    Shard,
    load_shard,
    merge_shards,
    save_shard,
    settings_key,
)

TOTAL = 4 * BLOCK + 5
ROWS = 10 + torch.randn(TOTAL, 2, 3, generator=torch.Generator().manual_seed(0))
SETTINGS = {"seed": 3, "shape": [2, 3], "layer": "middle_block"}


def shard(start, stop, settings=SETTINGS, total=TOTAL):
    trees = {"features": MomentTree(start=start), "predictions": MomentTree(PairedMoments, start)}
    for tree in trees.values():
        tree.update(ROWS[start:stop])
    return Shard(settings, total, trees)


def same(one: Shard, other: Shard) -> bool:
    packed = [{name: tree.packed() for name, tree in each.trees.items()} for each in (one, other)]
    return packed[0].keys() == packed[1].keys() and all(
        numbers == packed[1][name][1] and all(torch.equal(value, packed[1][name][0][key])
                                              for key, value in tensors.items())
        for name, (tensors, numbers) in packed[0].items())


def test_shards_on_disk_in_any_order_become_the_mean_of_all_rows(tmp_path):
    whole = shard(0, TOTAL)
    for edges in ((0, TOTAL), (0, 32, TOTAL), (0, 16, 32, 48, 64, TOTAL)):
        found = []
        for start, stop in zip(edges, edges[1:]):
            save_shard(shard(start, stop), tmp_path / f"{start}.safetensors")
            found.insert(0, load_shard(tmp_path / f"{start}.safetensors"))
        merged = merge_shards(found)
        assert same(merged, whole) and merged.is_whole and merged.settings == SETTINGS
    torch.testing.assert_close(merged.trees["features"].moments().mean, ROWS.double().mean(0), rtol=1e-14, atol=0)


@pytest.mark.parametrize("ranges, message", [
    (((0, 32), (16, TOTAL)), "one and two overlap: both hold rows 16 to 32"),
    (((0, 32), (0, 32), (32, TOTAL)), "one and two overlap: both hold rows 0 to 32"),
    (((0, 16), (32, TOTAL)), "Rows 16 to 32 are missing"),
    (((16, TOTAL),), "Rows 0 to 16 are missing"),
    (((0, 16), (16, 64)), f"Rows 64 to {TOTAL} are missing"),
])
def test_shards_that_do_not_fit_together(ranges, message):
    with pytest.raises(ValueError, match=message):
        merge_shards([shard(*each) for each in ranges], ["one", "two", "three"][: len(ranges)])


def test_shards_of_other_settings():
    with pytest.raises(ValueError, match="b belongs to other settings than a: layer, seed are not the same"):
        merge_shards([shard(0, 16), shard(16, TOTAL, {**SETTINGS, "seed": 4, "layer": "out"})], ["a", "b"])
    with pytest.raises(ValueError, match="shard 2 belongs to other settings.*a mean over 100 rows and not 69"):
        merge_shards([shard(0, 16), shard(16, TOTAL, total=100)])
    with pytest.raises(ValueError, match="no shard"):
        merge_shards([])
    assert settings_key({"a": 1, "b": 2}, 3) == settings_key({"b": 2, "a": 1}, 3) != settings_key({"a": 1, "b": 2}, 4)


def test_files_that_hold_no_shard(tmp_path):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "a.safetensors"
    save_shard(shard(0, 16), path)
    for cut in (10, path.stat().st_size - 1):
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(ValueError, match="broken.safetensors is not a whole safetensors file"):
            load_shard(broken)
    save_file({"mean": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other.safetensors does not hold a shard"):
        load_shard(tmp_path / "other.safetensors")
    header = {"format": "mental-averages/moment-shard-1", "trees": "{}", "settings": "{}", "total": "3", "key": "a",
              "start": "0", "stop": "3"}
    for change, message in (({}, "within 0 and 3, but this one none"), ({"key": None}, "it lacks 'key'"),
                            ({"stop": None}, "it lacks 'stop'"), ({"start": "first"}, "damaged shard: invalid literal"),
                            ({"trees": "{"}, "damaged shard: Expecting"), ({"trees": "[]"}, "damaged shard: 'list'")):
        kept = {name: value for name, value in {**header, **change}.items() if value is not None}
        save_file(load_file(path), tmp_path / "damaged.safetensors", metadata=kept)
        with pytest.raises(ValueError, match=message):
            load_shard(tmp_path / "damaged.safetensors")
    content = path.read_bytes()
    changed = content.replace(b'\\"seed\\": 3', b'\\"seed\\": 4')
    assert changed != content
    path.write_bytes(changed)
    with pytest.raises(ValueError, match="damaged shard: its settings or rows are not those of its header"):
        load_shard(path)


def test_a_shard_is_of_one_range_and_of_numbers(tmp_path):
    with pytest.raises(ValueError, match="one range of rows within 0 and 8, but this one 0 to 16"):
        shard(0, 16, total=8)
    trees = {"a": shard(0, 16).trees["features"], "b": shard(16, 32).trees["features"]}
    with pytest.raises(ValueError, match="0 to 16 and 16 to 32"):
        Shard(SETTINGS, TOTAL, trees)
    tree = MomentTree()
    tree.update(torch.full((2, 1), float("nan")))
    with pytest.raises(ValueError, match="rows 0 to 2 hold NaN"):
        save_shard(Shard({}, 2, {"a": tree}), tmp_path / "nan.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_replaced_as_it_is_read_is_one_or_the_other(tmp_path):
    """Several servers share a folder, and make shards of other settings under one name."""
    for seed in (1, 2):
        tree = MomentTree()
        tree.update(torch.full((16, 64), float(seed)))
        save_shard(Shard({"seed": seed}, 16, {"features": tree}), tmp_path / f"{seed}.safetensors")
    path, end = tmp_path / "shared.safetensors", threading.Event()
    shutil.copy(tmp_path / "1.safetensors", path)

    def replace():
        turn = 0
        while not end.is_set():
            turn += 1
            os.replace(shutil.copy(tmp_path / f"{1 + turn % 2}.safetensors", tmp_path / "new"), path)

    other = threading.Thread(target=replace)
    other.start()
    try:
        found = [load_shard(path) for _ in range(3000)]
    finally:
        end.set()
        other.join()
    assert {(each.settings["seed"], each.trees["features"].moments().mean[0].item()) for each in found} == {
        (1, 1.0), (2, 2.0)}


def test_what_a_model_has_answered_is_kept_and_is_no_part_of_the_key(tmp_path):
    plain = shard(0, TOTAL)
    told = Shard(SETTINGS, TOTAL, plain.trees, torch.ones(2, 3), {"device": "cpu"})
    save_shard(told, tmp_path / "told.safetensors")
    merged = merge_shards([load_shard(tmp_path / "told.safetensors")])
    assert torch.equal(merged.answers, torch.ones(2, 3)) and merged.made_by == {"device": "cpu"}
    assert merged.key == plain.key and not plain.answers.numel()


def test_settings_are_called_what_they_are_called_elsewhere():
    with pytest.raises(ValueError, match="shard 1: the seed of all noise is not the same"):
        merge_shards([shard(0, 16), shard(16, TOTAL, {**SETTINGS, "seed": 4})], words={"seed": "the seed of all noise"})
