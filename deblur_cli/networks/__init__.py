"""Networks and building blocks that several plugins share."""

from deblur_cli.networks.blocks import ConvNormAct, keras_norm
from deblur_cli.networks.conv_lstm import ConvLSTM, State
from deblur_cli.networks.inference import InferenceForm
from deblur_cli.networks.initialising import (
    PHOTO_MEAN,
    PHOTO_STD,
    calibrate_norms,
    glorot_uniform,
    let_pass,
    undo_tanh,
)

__all__ = [
    "PHOTO_MEAN",
    "PHOTO_STD",
    "ConvLSTM",
    "ConvNormAct",
    "InferenceForm",
    "State",
    "calibrate_norms",
    "glorot_uniform",
    "keras_norm",
    "let_pass",
    "undo_tanh",
]
