"""Networks and building blocks that several plugins share."""

from deblur_cli.networks.blocks import ConvNormAct, keras_norm
from deblur_cli.networks.conv_lstm import ConvLSTM, State
from deblur_cli.networks.inference import InferenceForm
from deblur_cli.networks.initialising import glorot_uniform

__all__ = ["ConvLSTM", "ConvNormAct", "InferenceForm", "State", "glorot_uniform", "keras_norm"]
