"""Networks and building blocks that several plugins share."""

from deblur_cli.networks.adversarial import attend, bound_kernels, channel_attention, start_normal
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
    Extent,
    InstanceNorm,
    OfPicture,
    PictureMap,
    PictureMoments,
    PictureStatistics,
    Window,
)

__all__ = [
    "PHOTO_MEAN",
    "PHOTO_STD",
    "ChannelAttention",
    "ConvLSTM",
    "ConvNormAct",
    "Extent",
    "InferenceForm",
    "InstanceNorm",
    "OfPicture",
    "PictureMap",
    "PictureMoments",
    "PictureStatistics",
    "SelfAttention",
    "State",
    "Window",
    "attend",
    "bound_kernels",
    "calibrate_norms",
    "channel_attention",
    "glorot_uniform",
    "keras_norm",
    "let_pass",
    "start_normal",
    "undo_tanh",
]
