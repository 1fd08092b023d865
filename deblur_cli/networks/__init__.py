"""Networks and building blocks that several plugins share."""

from deblur_cli.networks.blocks import ConvNormAct, keras_norm
from deblur_cli.networks.initialising import glorot_uniform

__all__ = ["ConvNormAct", "glorot_uniform", "keras_norm"]
