import pytest
import torch
from pictures import check_picture
from reports import KINDS

from mental_averages.dma import figures
from mental_averages.dma.mean_shift import ModeTree, ModeTreeReport, TreeLevel, TreeSettings, tree_clusters

COLOURS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.8, 0.2], [0.1, 0.2, 0.9], [0.9, 0.8, 0.1], [0.7, 0.1, 0.8]])


def level(step, labels):
    labels = torch.tensor(labels)
    return TreeLevel(step, 20.0 - step, labels, torch.arange(labels.max() + 1.0).view(-1, 1, 1, 1), 5, 0.1, True)


def report_of(*levels):
    tree = ModeTree(tuple(level(10 - number, labels) for number, labels in enumerate(levels)), 1.0)
    return tree, ModeTreeReport.of(tree, TreeSettings())


def pictures_of(report):
    places = [(number, mode) for number, found in enumerate(report.levels) for mode in range(len(found.modes))]
    return {place: COLOURS[index % 5].expand(16, 16, 3) for index, place in enumerate(places)}


def where(image, colour):
    """Rows and columns (N, 2) at which an image has a colour."""
    return torch.nonzero((image[0] - colour).abs().amax(-1) < 0.02).double()


FAMILY = ([0, 0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 1, 1, 1, 0, 0, 0])


def test_every_mode_is_its_picture_the_highest_noise_on_top_and_parts_below_their_whole():
    _, report = report_of(*FAMILY)
    pictures = pictures_of(report)
    check_picture(image := figures.mode_tree(report, pictures), 1024)
    places = {place: where(image, picture[0, 0]).mean(0) for place, picture in pictures.items()}
    for (number, _), place in places.items():
        others = [other for (above, _), other in places.items() if above > number]
        assert all(place[0] > other[0] for other in others)
    order = sorted((0, 1, 2), key=lambda mode: places[0, mode][1])
    assert order in ([0, 2, 1], [1, 0, 2]), "parts of a mode stand side by side"
    assert places[0, 0][1] < places[1, 0][1] < places[0, 2][1]


def test_branches_are_as_wide_as_their_shares():
    _, report = report_of([0] * 15 + [1] * 5, [0] * 15 + [1] * 5)
    image = figures.mode_tree(report, pictures_of(report))[0]
    coloured = (image.amax(-1) - image.amin(-1)) > 0.08
    row = coloured[image.shape[0] // 2 - 5]
    runs = torch.diff(row.int()).nonzero().flatten().view(-1, 2)
    wide, narrow = sorted((runs[:, 1] - runs[:, 0]).tolist(), reverse=True)
    assert wide / narrow == pytest.approx(3, rel=0.15)


def inked(image, report, number):
    """Rows of text beside a level, to the left of all pictures and above the note."""
    image = image[:, :-50]
    high = image.shape[1] / len(report.levels)
    above = int((len(report.levels) - 1 - number) * high)
    dark = (image[0, above : above + int(high), 16:60].amax(-1) < 0.7).any(1).int()
    return int((torch.diff(dark) == 1).sum())


def test_twelve_leaves_have_room_and_further_ones_are_counted_beside_each_level():
    few = report_of(list(range(12)) * 2, [0] * 24)[1]
    many = report_of([*list(range(12)) * 2, 12, 13], [0] * 24 + [1, 2])[1]
    images = [figures.mode_tree(report, pictures_of(report)) for report in (few, many)]
    for image in images:
        check_picture(image, 1024)
    assert len(many.shown()[0]) == 12 and not torch.equal(*(image[:, -30:] for image in images)), "a note is added"
    for number in range(2):
        assert inked(images[1], many, number) == inked(images[0], few, number) + 2


def test_a_title_and_other_widths():
    _, report = report_of(*FAMILY)
    plain, titled = (figures.mode_tree(report, {}, title=title) for title in ("", "heart"))
    assert titled.shape[1] > plain.shape[1]
    for width in (256, 2048):
        check_picture(figures.mode_tree(report, pictures_of(report), width=width), width)


def test_a_forest_and_a_single_mode():
    for levels in (([0, 0, 1, 2], [0, 0, 1, 2]), ([0, 0], [0, 0]), ([0, 0, 1],)):
        check_picture(figures.mode_tree(*report_of(*levels)[1:], {}), 1024)


def test_without_pictures_there_are_discs():
    check_picture(figures.plot_mode_tree(KINDS["mode_tree"][0].from_json(KINDS["mode_tree"][1])), 1024)
    with pytest.raises(ValueError, match="no levels"):
        figures.plot_mode_tree(ModeTreeReport({}, []))


def test_pictures_that_are_not_square_fit():
    _, report = report_of(*FAMILY)
    pictures = {place: picture[:8] for place, picture in pictures_of(report).items()}
    check_picture(figures.mode_tree(report, pictures), 1024)


def test_the_sheet_shows_the_average_and_typical_samples_of_each_mode():
    tree, _ = report_of(*FAMILY)
    samples = torch.randn(10, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    clusters = tree_clusters(tree, samples, 0, TreeSettings())
    averages = COLOURS[:2, None, None].expand(2, 16, 16, 3)
    members = [COLOURS[2].expand(4, 16, 16, 3), COLOURS[3].expand(3, 16, 16, 3)]
    sheet = figures.mode_sheet(averages, members, clusters, cell=32, columns=4)
    assert [len(where(sheet, colour)) // 32**2 for colour in COLOURS[:4]] == [1, 1, 3, 3]


def test_modes_of_a_tree_are_drawn_as_other_clusters_are():
    tree, _ = report_of(*FAMILY)
    samples = torch.randn(10, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    clusters = tree_clusters(tree, samples, 0, TreeSettings())
    check_picture(figures.scatter_plot(clusters, width=512), 512)
    assert figures.contact_sheet(torch.rand(10, 8, 8, 3), clusters, cell=32).shape[1] > 3 * 32
    with pytest.raises(ValueError, match="no BIC"):
        figures.bic_curve(clusters)
