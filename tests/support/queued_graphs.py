"""AlignModes in a graph that ComfyUI's own executor runs."""
import uuid
from collections import Counter

SIZES = (5, 3, 2)  # samples of each mode
LORA = {"adapter": "lora", "adapter.steps": 2, "adapter.learning_rate": 1e-3, "adapter.rank": 1, "adapter.save_as": ""}
EMBEDDING = {"adapter": "embedding", "adapter.name": "mode", "adapter.initial_text": "heart",
             "adapter.template": "a {}", "adapter.vectors": 1, "adapter.steps": 2, "adapter.learning_rate": 1e-2,
             "adapter.overwrite": False, "adapter.clip": ["given", 6]}
NONE = {"adapter": "none"}


class Listener:
    """The part of ComfyUI's server that an executor speaks to: keeps what it says."""

    client_id = last_node_id = None

    def __init__(self):
        self.messages = []

    def send_sync(self, event, data, client_id=None):
        self.messages.append((event, data))


class Comfy:
    """ComfyUI's executor with a cache of one kind, and what each queued graph has run."""

    def __init__(self, cache, unfolding="modes", result=None):
        import execution

        self.unfolding, self.result = f"{unfolding}.0.0.", result or Result
        self.listener = Listener()
        self.executor = execution.PromptExecutor(self.listener, execution.CacheType[cache],
                                                 {"lru": 0, "ram": 0.0, "ram_inactive": 0.0})

    def queue(self, graph):
        """Run a graph; returns what came out of its node "out", and how often each node has run that its node
        `unfolding` unfolds into."""
        self.listener.messages.clear()
        self.result.received = None
        self.executor.execute(graph, uuid.uuid4().hex, {"client_id": "test"}, ["out"])
        failed = [data["exception_message"] for event, data in self.listener.messages if event == "execution_error"]
        if failed:
            raise RuntimeError(failed[0])
        ids = [data["node"] for event, data in self.listener.messages if event == "executing" and data["node"]]
        # A node that unfolds is announced twice, before and after.
        return self.result.received, Counter(node.split(self.unfolding)[1]
                                             for node in dict.fromkeys(ids) if self.unfolding in node)


class Given:
    """The values that the graph starts from."""

    RETURN_TYPES = ("MODEL", "VAE", "CONDITIONING", "CONDITIONING", "LATENT", "DMA_CLUSTERS", "CLIP", "IMAGE", "STRING")
    FUNCTION, CATEGORY, values = "give", "test", None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def give(self):
        return Given.values


class Result:
    """Takes the three outputs of AlignModes."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE, received = (), "take", "test", True, None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"averages": ("IMAGE",), "sheet": ("IMAGE",), "latents": ("LATENT",)}}

    def take(self, averages, sheet, latents):
        Result.received = averages, sheet, latents["samples"]
        return ()


def graph_of(adapter, **change):
    settings = dict(most_modes=8, count=3, steps=4, cfg=2.0, scheduler="normal", seed=1, preset="draft", overrides="",
                    images=["given", 7])
    links = {name: ["given", index]
             for index, name in enumerate(("model", "vae", "positive", "negative", "latents", "clusters"))}
    inputs = {**links, **adapter, **settings, **change}
    return {"given": {"class_type": "Given", "inputs": {}},
            "modes": {"class_type": "AlignModes",
                      "inputs": {name: value for name, value in inputs.items() if value is not None}},
            "out": {"class_type": "Result",
                    "inputs": {"averages": ["modes", 0], "sheet": ["modes", 1], "latents": ["modes", 2]}}}


def unfolded(values, adapter, links=None, **change):
    """The graph that the node unfolds into, and the links to its outputs."""
    from comfy_execution.graph import DynamicPrompt
    from comfy_execution.graph_utils import GraphBuilder

    from mental_averages.nodes.modes import AlignModes

    graph = graph_of(adapter, **change)
    chosen = {name.partition(".")[2] or name: values[value[1]] if isinstance(value, list) else value
              for name, value in adapter.items()}
    inputs = {name: values[value[1]] if isinstance(value, list) else value
              for name, value in graph["modes"]["inputs"].items()
              if not name.startswith("adapter")}
    GraphBuilder.set_default_prefix("modes", 0, 0)
    node = AlignModes.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
    node.hidden.dynprompt, node.hidden.unique_id = DynamicPrompt(graph), "modes"
    return node.execute(**inputs, adapter=chosen)
