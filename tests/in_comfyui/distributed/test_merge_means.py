import math

import pytest
import torch

TOTAL = 40


def written(folder, ranges, **settings):
    """Shards of one mean in a folder, by their ranges of rows."""
    from mental_averages.dma.statistics import MomentTree, Shard, save_shard

    rows = 5 + torch.randn(TOTAL, 3, generator=torch.Generator().manual_seed(0))
    for start, stop in ranges:
        tree = MomentTree(start=start)
        tree.update(rows[start:stop])
        save_shard(Shard({"seed": 1, **settings}, TOTAL, {"features": tree}), folder / f"mean_{start:03}.safetensors")
    return rows.double()


def merge(paths):
    from mental_averages.nodes.distributed import MergeMeans

    return MergeMeans.execute(paths).args


def test_files_of_both_folders_in_any_order_and_by_a_pattern(folders):
    rows = written(folders / "output", [(32, TOTAL), (0, 16)])
    (folders / "input" / "means").mkdir()
    written(folders / "input" / "means", [(16, 32)])
    for paths in ("mean_*\nmeans/*.safetensors", "mean_032.safetensors\n\n means/mean_016.safetensors \nmean_000*",
                  "mean_000.safetensors\nmean_*.safetensors\nmeans/mean_*"):
        mean, count, error = merge(paths)
        moments = mean.trees["features"].moments()
        torch.testing.assert_close(moments.mean, rows.mean(0), rtol=1e-14, atol=0)
        expected = (rows.var(0).sum() / TOTAL).sqrt() / rows.mean(0).norm()
        assert count == TOTAL and error == pytest.approx(expected.item())


def test_what_does_not_fit_together_is_said_by_the_names_of_files(folders):
    output = folders / "output"
    written(output, [(0, 16), (16, 32), (32, TOTAL)])
    with pytest.raises(ValueError, match="Rows 16 to 32 are missing: no shard holds them. Name every shard"):
        merge("mean_000.safetensors\nmean_032.safetensors")
    written(output, [(16, TOTAL)])
    with pytest.raises(ValueError, match="mean_016.safetensors and mean_032.safetensors overlap: both hold rows 32"):
        merge("mean_*")
    written(output, [(16, 32)], seed=2)
    with pytest.raises(ValueError, match="mean_016.safetensors belongs to other settings than mean_000.safetensors: "
                                         "seed is not the same"):
        merge("mean_*")
    (output / "mean_016.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="mean_016.safetensors is not a whole safetensors file"):
        merge("mean_*")


@pytest.mark.parametrize("paths, message", [("", "paths is empty"), ("mean.safetensors", "There is no file 'mean.saf"),
                                            ("mean_*", "There is no file like 'mean_"),
                                            ("../user/*", "There is no file like"), ("/etc/*", "There is no file")])
def test_files_are_in_the_output_or_input_folder(folders, paths, message):
    with pytest.raises(ValueError, match=message):
        merge(paths)


def test_it_is_looked_at_whether_files_have_changed(folders):
    from mental_averages.nodes.distributed import MergeMeans

    written(folders / "output", [(0, 16), (16, TOTAL)])
    told = MergeMeans.fingerprint_inputs("mean_*")
    assert told == MergeMeans.fingerprint_inputs("mean_000.safetensors\nmean_016.safetensors") != ""
    written(folders / "output", [(16, 32)])
    assert MergeMeans.fingerprint_inputs("mean_*") != told
    assert MergeMeans.fingerprint_inputs("nothing") == "" and math.isnan(MergeMeans.fingerprint_inputs(None))


def test_of_one_row_no_error_is_known(folders):
    from mental_averages.dma.statistics import MomentTree, Shard, save_shard

    tree = MomentTree()
    tree.update(torch.ones(1, 2))
    save_shard(Shard({}, 1, {"features": tree}), folders / "output" / "one.safetensors")
    assert merge("one.safetensors")[1:] == (1, 0.0)


def test_a_pattern_leaves_out_pictures_and_what_is_being_written(folders):
    output = folders / "output"
    written(output, [(0, 16), (16, TOTAL)])
    (output / "mean_average_00001_.png").write_bytes(b"a picture")
    (output / "mean_000.safetensors.17.17.00ff00ff.tmp").write_bytes((output / "mean_000.safetensors").read_bytes())
    assert merge("mean_*")[1] == TOTAL


def test_a_file_that_cannot_be_read_is_said(folders, monkeypatch):
    from pathlib import Path

    written(folders / "output", [(0, TOTAL)])

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ValueError, match="mean_000.safetensors cannot be read .Permission denied."):
        merge("mean_000.safetensors")
