"""CLIPGMMClusters: the modes of a concept."""
from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ...dma import clustering, encoders, execution, figures, statistics
from .. import comfyui, inputs
from ..inputs import CLUSTERS, EMBEDDINGS, IMAGE_ENCODER, REPRESENTATION, checked


class CLIPGMMClusters(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        reduction = [
            io.DynamicCombo.Option("dimensions", [io.Int.Input("dimensions", default=16, min=1, max=1024,
                                                               tooltip="The number of principal components; fewer "
                                                                       "where the pictures have fewer.")]),
            io.DynamicCombo.Option("variance", [
                io.Float.Input("variance_share", default=0.9, min=0.01, max=1.0, step=0.01,
                               tooltip="As many principal components as hold this share of the variance.")]),
        ]
        components = [
            io.DynamicCombo.Option("bic", [
                io.Int.Input("smallest", default=1, min=1, max=100,
                             tooltip="The smallest number of clusters that is tried."),
                io.Int.Input("largest", default=8, min=1, max=100,
                             tooltip="The largest number of clusters that is tried; not more than there are pictures."),
            ]),
            io.DynamicCombo.Option("fixed", [io.Int.Input("count", default=2, min=1, max=100,
                                                          tooltip="The number of clusters.")]),
        ]
        return io.Schema(
            node_id="CLIPGMMClusters", display_name="CLIP GMM Clusters", category=inputs.category("modes"),
            description="Sorts pictures into the modes of a concept: embeddings, principal components, a Gaussian "
                        "mixture whose size BIC may choose.",
            search_aliases=["cluster", "modes", "gaussian mixture", "GMM", "BIC", "PCA"],
            inputs=[
                io.Image.Input("images", tooltip="The pictures, such as many samples of one prompt."),
                io.DynamicCombo.Input("reduction", options=reduction,
                                      tooltip="How many principal components of the embeddings are kept."),
                io.DynamicCombo.Input("components", options=components,
                                      tooltip="bic: the number of clusters with the lowest Bayesian information "
                                              "criterion. fixed: a number of your own."),
                io.Combo.Input("covariance", options=list(clustering.COVARIANCES), default="diag",
                               tooltip="The shape of a cluster. diag: its own width along each component. full: any "
                                       "ellipsoid, which takes many pictures or few dimensions. tied: one ellipsoid "
                                       "for all. spherical: a ball."),
                io.Int.Input("minimum_size", default=2, min=1, max=100000,
                             tooltip="Clusters with fewer pictures are dissolved."),
                io.Combo.Input("small_clusters", options=list(clustering.SMALL_CLUSTERS), default="merge",
                               tooltip="merge: pictures of a small cluster go to the likeliest of the others. leave "
                                       "out: they belong to no mode."),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFF, tooltip="Seed of the mixture's starts.",
                             control_after_generate=io.ControlAfterGenerate.fixed),
                io.ClipVision.Input("clip_vision", optional=True,
                                    tooltip="Where embeddings come from: ComfyUI's CLIP Vision. Connect this, "
                                            "image_encoder or embeddings."),
                IMAGE_ENCODER.Input("image_encoder", optional=True,
                                    tooltip="Where embeddings come from: an encoder from LoadImageEncoder."),
                EMBEDDINGS.Input("embeddings", optional=True,
                                 tooltip="Embeddings of the same pictures from AttributeEmbed, in the same order."),
                io.Int.Input("restarts", default=10, min=1, max=1000, optional=True, advanced=True,
                             tooltip="How often each mixture is started; the likeliest is kept."),
                io.Float.Input("regularisation", default=0.01, min=1e-6, max=1.0, step=1e-6, round=False, optional=True,
                               advanced=True,
                               tooltip="Added to the variances of every cluster, in units of the mean variance of a "
                                       "principal component. Keeps single pictures from being clusters."),
                io.Int.Input("cell", default=96, min=32, max=1024, step=8, optional=True, advanced=True,
                             tooltip="Height of a picture on the contact sheet, in pixels."),
                io.Int.Input("columns", default=12, min=1, max=64, optional=True, advanced=True,
                             tooltip="Most pictures per row of the contact sheet."),
                REPRESENTATION.Input("representation", optional=True,
                                     tooltip="What the model itself represents of the same pictures, from "
                                             "ChannelMeans, in the same order: clusters without any encoder."),
                io.Combo.Input("method", options=list(clustering.METHODS), default=clustering.MIXTURE, optional=True,
                               advanced=True,
                               tooltip="gaussian mixture: clusters of their own size and shape (the paper). k-means: "
                                       "the nearest of so many centres; components has to be fixed, covariance and "
                                       "regularisation have no meaning."),
            ],
            outputs=[
                CLUSTERS.Output("clusters", display_name="clusters",
                                tooltip="Labels, responsibilities, members and shares, for SelectMode."),
                io.Image.Output("sheet", display_name="sheet",
                                tooltip="One row per mode, the largest on top, its most typical pictures first."),
                io.Image.Output("scatter", display_name="scatter",
                                tooltip="The pictures on the first two principal components."),
                io.Image.Output("bic", display_name="bic",
                                tooltip="BIC by number of components. k-means has none, and nothing comes out."),
                io.String.Output("json", display_name="json", tooltip="Everything above as numbers."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, images, reduction, components, covariance, minimum_size, small_clusters, seed, clip_vision=None,
                image_encoder=None, embeddings=None, restarts=10, regularisation=0.01, cell=96, columns=12,
                representation=None, method=clustering.MIXTURE) -> io.NodeOutput:
        encoders.check_images(images)
        if method == clustering.K_MEANS and components["components"] != "fixed":
            raise ValueError("k-means has no BIC to choose the number of clusters by: set components to fixed, or "
                             "method to gaussian mixture.")
        smallest, largest = ((components["count"],) * 2 if components["components"] == "fixed"
                             else (components["smallest"], components["largest"]))
        by_share = reduction["reduction"] == "variance"
        settings = clustering.ClusterSettings(
            smallest, largest, dimensions=len(images) if by_share else reduction["dimensions"],
            variance_share=reduction["variance_share"] if by_share else 1.0, covariance=covariance, restarts=restarts,
            seed=seed, minimum_size=minimum_size, small_clusters=small_clusters, regularisation=regularisation,
            method=method)
        clustering.check_count(len(images), settings)
        # Before they are embedded for nothing.
        statistics.check_different(images, "pictures", "there is nothing to cluster. Connect different ones")
        clusters = clustering.cluster(
            embedded(images, clip_vision, image_encoder, embeddings, representation), settings,
            watchers=[execution.PassMonitor(comfyui.progress_bar(), "fitting mixtures", passes=1)])
        bic = figures.bic_curve(clusters) if clusters.bic else ExecutionBlocker(None)
        return io.NodeOutput(clusters, figures.contact_sheet(images, clusters, cell=cell, columns=columns),
                             figures.scatter_plot(clusters), bic, clusters.to_json())


def embedded(images: torch.Tensor, clip_vision: Any, image_encoder: Any, embeddings: Any,
             representation: Any) -> torch.Tensor:
    """Embeddings (N, D) of pictures from the one source that is connected; raises ValueError for none or several."""
    sources = {"clip_vision": clip_vision, "image_encoder": image_encoder, "embeddings": embeddings,
               "representation": representation}
    connected = [name for name, source in sources.items() if source is not None]
    if len(connected) != 1:
        found = "none" if not connected else " and ".join(connected)
        raise ValueError("Embeddings come from exactly one of clip_vision, image_encoder, embeddings and "
                         f"representation, but {found} {'is' if not connected else 'are'} connected.")
    if embeddings is not None:
        if len(embeddings.values) != len(images):
            raise ValueError(f"There are {len(images)} pictures but embeddings of {len(embeddings.values)}: connect "
                             "the same pictures to AttributeEmbed.")
        return embeddings.values
    if representation is not None:
        if len(representation) != len(images):
            raise ValueError(f"There are {len(images)} pictures but a representation of {len(representation)}: connect "
                             "the latents of the same pictures to ChannelMeans.")
        return representation.rows()
    return inputs.picture_embeddings(images, clip_vision, image_encoder)
