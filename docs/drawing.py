"""Draws the networks for docs/models.md: traced by torch.fx, laid out by Graphviz' `dot`.

What is drawn is the graph of one forward pass through the network as it is built, so a drawing cannot say anything else
than the code. A box is a block: a module of the network, or an operation between two of them. Containers are opened;
activations that follow a block share its box, and so do equal blocks in a row.
"""

import hashlib
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from deblur_cli import Model
from deblur_cli.restore.tiling import round_up

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_UNSEEN = ("getitem", "float", "to", "detach")  # no step: choose an output, or how it is stored
_FILLS = ("#ffffff", "#e3eefa", "#c3dbf3", "#9cc3e8", "#73a8da")  # by halvings of the picture
_STYLE = """\
    graph [ranksep=0.22 nodesep=0.25 margin=0]
    node [shape=box style="rounded,filled" fontname="Helvetica,Arial,sans-serif" fontsize=11 height=0.3 margin="0.12,0.05"]
    edge [arrowsize=0.6]"""


@dataclass(slots=True, kw_only=True)
class _Box:
    """A block, or several equal ones in a row. shape : channels, height and width of what comes out"""

    words: list[str]
    shape: tuple[int, int, int]
    count: int = 1
    inputs: list["_Box"] = field(default_factory=list)

    def takes_in(self, title: str, shape: tuple[int, int, int], *, learns: bool) -> bool:
        """Write the step that follows into this box, if it is one more of the same or an activation."""
        # perhaps with more features, as dense layers
        if self.words == [title] and self.shape[1:] == shape[1:]:
            self.count += 1
            self.shape = shape
            return True
        if self.inputs and self.count == 1 and self.shape == shape and not learns:
            self.words.append(title)
            return True
        return False


class _Picture(fx.Proxy):
    """What stands for the tensors while a network is traced; it is asked what they are stored as."""

    dtype = torch.float32
    device = torch.device("cpu")


class _Blocks(fx.Tracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        """A stand-in for what a step makes."""
        return _Picture(node, self)

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether it is one box."""
        return type(module) not in _CONTAINERS


def graph_text(model: Model) -> str:
    """The default network of a model in Graphviz' language."""
    geometry = model.geometry_for({})
    side = geometry.fixed_size or round_up(64, geometry.multiple_of)
    boxes = _boxes(model, side)
    numbers = {id(box): number for number, box in enumerate(boxes)}
    lines = [f"digraph {model.name} {{", _STYLE]
    for box in boxes:
        number = numbers[id(box)]
        halvings = min(len(_FILLS) - 1, (side // max(1, box.shape[1])).bit_length() - 1)
        lines.append(f'    {number} [label="{_label(box, side)}" fillcolor="{_FILLS[halvings]}"]')
        lines += [f"    {numbers[id(before)]} -> {number}" for before in box.inputs]
    return "\n".join([*lines, "}"]) + "\n"


def drawing_is_of(path: Path, text: str) -> bool:
    """Whether the file holds the drawing of this graph."""
    return path.is_file() and path.read_text(encoding="utf-8").endswith(_signature(text))


def draw(path: Path, text: str) -> None:
    """Lay the graph out as SVG, signed with its hash. Raises FileNotFoundError where there is no `dot`."""
    done = subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True)
    path.write_text(done.stdout + _signature(text), encoding="utf-8")


def _signature(text: str) -> str:
    return f"<!-- graph {hashlib.sha256(text.encode()).hexdigest()} -->\n"


def _boxes(model: Model, side: int) -> list[_Box]:
    """The boxes in the order of the forward pass."""
    with torch.device("meta"):
        network = model.build().eval()
        traced = fx.GraphModule(network, _Blocks().trace(network))
        ShapeProp(traced).propagate(torch.empty(1, 3, side, side))
    for node in traced.graph.nodes:
        if node.op != "call_module" and _title(node, network) in _UNSEEN:
            node.replace_all_uses_with(node.args[0])
    traced.graph.eliminate_dead_code()
    boxes: dict[fx.Node, _Box] = {}
    for node in traced.graph.nodes:
        before = [boxes[source] for source in node.all_input_nodes if source in boxes]
        shape = before[0].shape if node.op == "output" else _shape(node)
        if shape is None:
            continue
        title = _title(node, network)
        learns = (
            node.op == "call_module"
            and next(network.get_submodule(node.target).parameters(), None) is not None
        )
        in_a_row = len(before) == 1 and len(node.all_input_nodes[0].users) == 1
        if in_a_row and node.op != "output" and before[0].takes_in(title, shape, learns=learns):
            boxes[node] = before[0]
        else:
            boxes[node] = _Box(words=[title], shape=shape, inputs=before)
    return list({id(box): box for box in boxes.values()}.values())


def _title(node: fx.Node, network: nn.Module) -> str:
    """What a step is called: a class with its kernels, or a function."""
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        convs = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)]
        words = [type(module).__name__]
        if convs and module not in convs and all(isinstance(conv, nn.ConvTranspose2d) for conv in convs):
            words.append("transposed")
        kernels = dict.fromkeys("×".join(map(str, conv.kernel_size)) for conv in convs)
        return " ".join([*words, ", ".join(kernels)]).strip()
    if node.op == "call_function":
        return str(getattr(node.target, "__name__", node.target))
    return {"placeholder": "blurry", "output": "restored"}.get(node.op, str(node.target))


def _shape(node: fx.Node) -> tuple[int, int, int] | None:
    """Channels, height and width of what a step makes, or of the first of several; None if that is no picture."""
    made = node.meta.get("tensor_meta")
    while isinstance(made, tuple) and not hasattr(made, "shape"):
        made = made[0] if made else None
    return tuple(made.shape[1:]) if made is not None and len(made.shape) == 4 else None


def _label(box: _Box, side: int) -> str:
    """Such as "3 of ResBlock 3×3", and below it "64 × H/2 × W/2"."""
    features, height, width = box.shape
    size = "".join(
        f" × {axis}" + (f"/{side // length}" if length < side else "")
        for axis, length in zip("HW", (height, width), strict=True)
    )
    return (f"{box.count} of " if box.count > 1 else "") + ", ".join(box.words) + f"\\n{features}{size}"
