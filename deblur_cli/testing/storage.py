"""Whether the state of a network survives a safetensors file."""

import torch
from safetensors.torch import load, save

from deblur_cli.host.declarations import Model
from deblur_cli.testing.behaviour import picture, varied
from deblur_cli.testing.declaration import build, require


def state_survives_a_file(model: Model) -> None:
    """The state dict goes through safetensors into a fresh network, strictly, and gives the same output bit by bit."""
    network = varied(build(model, model.tiny))
    other = build(model, model.tiny, seed=1)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    other.load_state_dict(load(save(state)), strict=True)
    geometry = model.geometry_for(model.tiny)
    side = geometry.fixed_size or -(-16 // geometry.multiple_of) * geometry.multiple_of
    x = picture(model, side, side)
    with torch.no_grad():
        same = torch.equal(network(x), other(x))
    require(same, "after saving and loading, the output differs; some state is not in the state dict")
