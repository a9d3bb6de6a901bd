// ComfyUI's page says of an error in a node that there was one, and leaves the sentence to the details. Ours say what to
// change, so they are shown where people look.
import { app } from "../../scripts/app.js"
import { api } from "../../scripts/api.js"

const MILLISECONDS = 20000
// This file lies under /extensions/FOLDER/, and the nodes of this pack are those of custom_nodes.FOLDER.
const MODULE = `custom_nodes.${decodeURIComponent(new URL(import.meta.url).pathname.split("/extensions/")[1].split("/")[0])}`

app.registerExtension({
    name: "mental_averages.errors",
    setup() {
        api.addEventListener("execution_error", ({ detail }) => {
            const node = LiteGraph.registered_node_types[detail.node_type]?.nodeData
            if (node?.python_module !== MODULE || !detail.exception_message?.trim()) return
            app.extensionManager.toast.add({
                severity: "error", summary: node.display_name, detail: detail.exception_message.trim(),
                life: MILLISECONDS,
            })
        })
    },
})
