"""PlotReport."""
from alignments import run_align


def test_report_is_plotted(hspace, prompts, empty_latent):
    from mental_averages.nodes.figures import PlotReport

    _, report = run_align(hspace, prompts, empty_latent)
    assert PlotReport.execute(report, 512).args[0].shape[2] == 512
