"""Networks and building blocks that several plugins share."""

from deblur_cli.networks.attention import SelfAttention
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
from deblur_cli.networks.whole_picture import (
    ChannelAttention,
    InstanceNorm,
    Kept,
    PictureMoments,
    PictureStatistics,
)

__all__ = [
    "PHOTO_MEAN",
    "PHOTO_STD",
    "ChannelAttention",
    "ConvLSTM",
    "ConvNormAct",
    "InferenceForm",
    "InstanceNorm",
    "Kept",
    "PictureMoments",
    "PictureStatistics",
    "SelfAttention",
    "State",
    "calibrate_norms",
    "glorot_uniform",
    "keras_norm",
    "let_pass",
    "undo_tanh",
]
