"""Scale-recurrent networks: the same encoder-decoder restores a small picture first, then larger ones with its help.

srndeblur_cifar and srndeblur_reds are from the "Deep Deblurring project" (Dicosola; Bologna, 2020). They follow X. Tao,
H. Gao, X. Shen, J. Wang, J. Jia, "Scale-Recurrent Network for Deep Image Deblurring", CVPR 2018 (arXiv 1802.01770),
whose network is srn_deblurnet. Differences of the report's two: two scales instead of three, each with weights of its own;
a scale sees the sum of the blurred picture and the enlarged result of the scale before, not both beside each other;
srndeblur_cifar has batch norms, LeakyReLU and a sigmoid at the end, srndeblur_reds fewer features.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli import PictureError
from deblur_cli.networks import (
    PHOTO_MEAN,
    PHOTO_STD,
    ConvLSTM,
    ConvNormAct,
    InferenceForm,
    State,
    calibrate_norms,
    glorot_uniform,
)

COLOURS = 3
DENSE_SIDE = 32  # px; the dense LSTM knows each place of a picture by a weight of its own
DENSE_UNITS = 32
MAX_NORM = 3.0

Outputs = Tensor | tuple[Tensor, ...]


class Residual(nn.Sequential):
    """x + layers(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y = x
        for layer in self:
            y = layer(y)
        # in place where no gradient needs y
        return y.add_(x) if torch.is_inference_mode_enabled() else x + y


class Scale(nn.Module):
    """An encoder-decoder of three levels with sums across.

    Parameters
    ----------
    width, blocks : features of the first level, which double with each; residual blocks of each part
    enter, leave : picture to the first level's features, and back
    down, up : features -> layer to the next level, which halves the size and doubles them, or the reverse
    residual : features -> residual block; last_residual : that of the last part, if it is another one
    """

    def __init__(
        self,
        *,
        width: int,
        blocks: int,
        enter: nn.Module,
        down: Callable[[int], nn.Module],
        residual: Callable[[int], nn.Module],
        up: Callable[[int], nn.Module],
        leave: nn.Module,
        last_residual: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        wide = (width, 2 * width, 4 * width)

        def stack(features: int, kind: Callable[[int], nn.Module]) -> list[nn.Module]:
            return [kind(features) for _ in range(blocks)]

        self.encoder = nn.ModuleList(
            nn.Sequential(first, *stack(features, residual))
            for first, features in zip((enter, down(wide[0]), down(wide[1])), wide, strict=True)
        )
        self.decoder = nn.ModuleList(
            [
                nn.Sequential(*stack(wide[2], residual), up(wide[2])),
                nn.Sequential(*stack(wide[1], residual), up(wide[1])),
                nn.Sequential(*stack(wide[0], last_residual or residual), leave),
            ]
        )

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> features of the three levels, the coarsest last."""
        features = [x]
        for part in self.encoder:
            features.append(part(features[-1]))
        return features[1:]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Features of the three levels, which are used up -> (B, 3, H, W)."""
        *inner, last = self.decoder
        x = features.pop()
        for part in inner:
            x = part(x) + features.pop()
        restored: Tensor = last(x)
        return restored


class DenseLSTM(nn.Module):
    """An LSTM over all the features of a small picture at once, back to their shape by a dense layer.

    Kernels start Glorot uniform, the recurrent one orthogonal, biases at zero, that of the forget gate at 1. PyTorch's
    LSTM has two bias vectors, of which Keras has the sum.

    features, side : (B, features, side, side) goes in and comes out
    """

    def __init__(self, features: int, *, side: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(features * side * side, DENSE_UNITS)
        self.dense = nn.Linear(DENSE_UNITS, features * side * side)
        for weight in (self.cell.weight_ih, self.dense.weight):
            nn.init.xavier_uniform_(weight)
        nn.init.orthogonal_(self.cell.weight_hh)
        for bias in (self.cell.bias_ih, self.cell.bias_hh, self.dense.bias):
            nn.init.zeros_(bias)
        with torch.no_grad():
            self.cell.bias_ih[DENSE_UNITS : 2 * DENSE_UNITS] = 1

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """(B, C, side, side) and the state before, two (B, 32) -> the same shape, and the new state."""
        h, c = self.cell(x.flatten(1), state)
        return self.dense(h).view(x.shape), (h, c)


class TwoScales(nn.Module):
    """(B, 3, H, W) in [0, 1] -> restored. H and W are multiples of 8. In training mode (restored, restored at half size).

    Half the size first; then the whole, of which the network sees the sum of the picture and of what it has.
    """

    def __init__(self, scales: Sequence[Scale]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(scales)
        glorot_uniform(self)

    def recur(self, number: int, coarse: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """The coarsest features of a scale, and the state of the one before -> what is decoded, and the state."""
        raise NotImplementedError

    def forward(self, blurry: Tensor) -> Outputs:
        """In training mode all scales, the finest first."""
        x = _resized(blurry, 0.5)
        outputs: list[Tensor] = []
        state: State | None = None
        for number, scale in enumerate(self.scales):
            assert isinstance(scale, Scale)
            features = scale.encode(x)
            features[-1], state = self.recur(number, features[-1], state)
            outputs.append(scale.decode(features))
            x = blurry + _resized(outputs[-1], 2) if number == 0 else x
        return tuple(outputs[::-1]) if self.training else outputs[-1]

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


class SRNDeblurCIFAR(TwoScales):
    """srndeblur_cifar: batch norms, LeakyReLU, and a sigmoid at the end, so that the result is in (0, 1).

    Parameters
    ----------
    lstm : between encoder and decoder; "none" (13,747,026 parameters), "dense" as in the report, for 32x32 px alone
        (15,404,370), or "conv", a ConvLSTM that both scales share, for any size (17,024,338; not in the report)
    deconv_act : after the inner transposed convolutions; "leaky_relu" as the report says, "sigmoid" as its code ran
    width : features of the first level
    blocks : residual blocks of each of the six parts of a scale
    """

    def __init__(
        self, *, lstm: str = "none", deconv_act: str = "leaky_relu", width: int = 32, blocks: int = 3
    ) -> None:
        def conv(before: int, after: int, kernel: int = 5, stride: int = 1) -> ConvNormAct:
            layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
            return ConvNormAct(layer, nn.LeakyReLU(0.3, inplace=True))

        def up(features: int) -> ConvNormAct:
            layer = nn.ConvTranspose2d(features, features // 2, 5, 2, padding=2, output_padding=1)
            return ConvNormAct(
                layer, nn.Sigmoid() if deconv_act == "sigmoid" else nn.LeakyReLU(0.3, inplace=True)
            )

        super().__init__(
            [
                Scale(
                    width=width,
                    blocks=blocks,
                    enter=conv(COLOURS, width),
                    down=lambda features: conv(features, 2 * features, stride=2),
                    residual=lambda features: Residual(conv(features, features), conv(features, features)),
                    up=up,
                    leave=ConvNormAct(nn.ConvTranspose2d(width, COLOURS, 1), nn.Sigmoid()),
                    last_residual=lambda features: Residual(
                        conv(features, features, 3), conv(features, features, 3)
                    ),
                )
                for _ in range(2)
            ]
        )
        self.lstm = lstm
        if lstm == "conv":
            self.cell = ConvLSTM(4 * width, kernel=5)
        if lstm == "dense":
            self.dense = nn.ModuleList(
                DenseLSTM(4 * width, side=side) for side in (DENSE_SIDE // 8, DENSE_SIDE // 4)
            )

    def forward(self, blurry: Tensor) -> Outputs:
        """Raises PictureError for a size that the dense LSTM cannot take."""
        height, width = blurry.shape[-2:]
        if self.lstm == "dense" and (height, width) != (DENSE_SIDE, DENSE_SIDE):
            raise PictureError(
                f"srndeblur_cifar with lstm=dense takes pictures of {DENSE_SIDE}x{DENSE_SIDE} px, not {width}x{height}; "
                "with lstm=conv or lstm=none it takes any size"
            )
        return super().forward(blurry)

    def recur(self, number: int, coarse: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """Both scales remember what they saw, unless `lstm` is none."""
        if self.lstm == "none":
            return coarse, None
        if self.lstm == "conv":
            return _step(self.cell, coarse, state)
        remembered: tuple[Tensor, State] = self.dense[number](coarse, state)
        return remembered

    def constrain(self) -> None:
        """The report's max-norm of the LSTM's kernels; the trainer calls this after each update."""
        if self.lstm == "conv":
            _limit_norms(self.cell.input.weight, dim=2)
        if self.lstm == "dense":
            for part in self.dense:
                assert isinstance(part, DenseLSTM)
                _limit_norms(part.cell.weight_ih, dim=1)


class SRNDeblurREDS(TwoScales):
    """srndeblur_reds: ReLU, no norms, and a ConvLSTM in each scale; linear, so that the result is in (-inf, inf).

    Parameters
    ----------
    lstm : "conv" (5,019,894 parameters) or "none"
    carry_state : pass the small scale's state to the large one, enlarged. Without it, as in the report, the recurrent
        kernels see zeros alone, and nothing but their number matters
    width : features of the first convolution; the first level has twice as many
    blocks : residual blocks of each of the six parts of a scale
    """

    def __init__(
        self, *, lstm: str = "conv", carry_state: bool = False, width: int = 8, blocks: int = 3
    ) -> None:
        super().__init__(
            [
                Scale(
                    width=2 * width,
                    blocks=blocks,
                    enter=Doubled(width),
                    down=lambda features: nn.Sequential(
                        _conv(features, 2 * features, stride=2), nn.ReLU(inplace=True)
                    ),
                    residual=lambda features: Residual(
                        _conv(features, features), nn.ReLU(inplace=True), _conv(features, features)
                    ),
                    up=lambda features: nn.Sequential(
                        nn.ConvTranspose2d(features, features // 2, 2, 2), nn.ReLU(inplace=True)
                    ),
                    leave=nn.ConvTranspose2d(2 * width, COLOURS, 5, padding=2),
                )
                for _ in range(2)
            ]
        )
        self.carry_state = carry_state
        self.cells = nn.ModuleList(ConvLSTM(8 * width, kernel=5) for _ in range(2) if lstm == "conv")

    def recur(self, number: int, coarse: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """Each scale has a cell of its own."""
        if not self.cells:
            return coarse, None
        cell = self.cells[number]
        assert isinstance(cell, ConvLSTM)
        return _step(cell, coarse, state if self.carry_state else None)

    def constrain(self) -> None:
        """The report's max-norm of the cells' kernels; the trainer calls this after each update."""
        for cell in self.cells:
            assert isinstance(cell, ConvLSTM)
            _limit_norms(cell.input.weight, dim=2)


class Doubled(nn.Module):
    """[a, b] with a = ReLU(conv(x)) and b = ReLU(conv(a)), `width` features each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _conv(COLOURS, width), _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2 width, H, W)."""
        a = F.relu(self.first(x), inplace=True)
        return torch.cat([a, F.relu(self.second(a), inplace=True)], dim=1)


class SRNDeblurNet(nn.Module):
    """srn_deblurnet: a quarter, a half and the whole of the size by the same weights; linear, in (-inf, inf).

    (B, 3, H, W) in [0, 1] -> restored. H and W are multiples of 16. In training mode (restored, at half, at a quarter of
    the size). A scale sees the picture beside the enlarged result of the one before, the first one the picture twice;
    no gradient flows back through that result.

    Parameters
    ----------
    lstm : "conv" (8,061,411 parameters), a ConvLSTM whose state goes from scale to scale, or "none" (6,881,251), which
        the authors call "color"
    width : features of the first level
    blocks : residual blocks of each of the six parts
    """

    def __init__(self, *, lstm: str = "conv", width: int = 32, blocks: int = 3) -> None:
        super().__init__()
        self.scale = Scale(
            width=width,
            blocks=blocks,
            enter=nn.Sequential(_conv(2 * COLOURS, width, bias=True), nn.ReLU(inplace=True)),
            down=lambda features: nn.Sequential(
                _conv(features, 2 * features, stride=2, bias=True), nn.ReLU(inplace=True)
            ),
            residual=lambda features: Residual(
                _conv(features, features, bias=True),
                nn.ReLU(inplace=True),
                _conv(features, features, bias=True),
            ),
            up=lambda features: nn.Sequential(
                nn.ConvTranspose2d(features, features // 2, 4, 2, padding=1), nn.ReLU(inplace=True)
            ),
            leave=_conv(width, COLOURS, bias=True),
        )
        glorot_uniform(self)
        self.cell = ConvLSTM(4 * width) if lstm == "conv" else None

    def forward(self, blurry: Tensor) -> Outputs:
        """In training mode all scales, the finest first."""
        outputs: list[Tensor] = []
        state: State | None = None
        for size in (0.25, 0.5, 1):
            x = _resized(blurry, size)
            before = x if not outputs else _resized(outputs[-1], 2)
            if self.training:
                before = before.detach()
            features = self.scale.encode(torch.cat([x, before], dim=1))
            if self.cell is not None:
                features[-1], state = _step(self.cell, features[-1], state)
            outputs.append(self.scale.decode(features))
        return tuple(outputs[::-1]) if self.training else outputs[-1]

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


def _conv(before: int, after: int, *, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(before, after, 5, stride, padding=2, bias=bias)


def _resized(x: Tensor, factor: float) -> Tensor:
    """Bilinear, half-pixel centres, no antialiasing."""
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _step(cell: ConvLSTM, coarse: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Output and new state of a cell; the state before is that of a picture half as large, or None."""
    new = cell(coarse, None if state is None else (_resized(state[0], 2), _resized(state[1], 2)))
    return new[0], new


def _limit_norms(kernel: Tensor, *, dim: int) -> None:
    """Shorten the columns of a kernel to `MAX_NORM`, in place. Keras, which the report used, takes them along its first
    axis: over the inputs of a dense kernel, over the rows of a convolution's. dim : that axis here
    """
    kernel.mul_((MAX_NORM / kernel.norm(dim=dim, keepdim=True)).clamp(max=1))


def start_near_identity(network: TwoScales | SRNDeblurNet) -> None:
    """Lead the picture along the first level of each scale, so that training starts near it.

    Three features carry the colours past all residual blocks, and the last layer takes those alone. The others start at
    random as ever. srn_deblurnet then returns the picture all but unchanged. Of the other two the large scale sees the sum
    of the picture and the enlarged small one, and half of that is what starts; srndeblur_cifar's sigmoid bends it.
    """
    scales = list(network.scales) if isinstance(network, TwoScales) else [network.scale]
    with torch.no_grad():
        for number, scale in enumerate(scales):
            assert isinstance(scale, Scale)
            enter, *before = scale.encoder[0].children()
            *after, leave = scale.decoder[-1].children()
            for block in (*before, *after):
                _quieten(list(block.children())[-1], to=0)
            _quieten(list(scale.decoder[-2].children())[-1], to=0.01)  # at 0 a ReLU would never wake
            _carry(enter)
            _carry(leave, gain=0.5 if number else 1)
            if isinstance(leave, ConvNormAct):  # 4 is what the sigmoid divides by, around a half
                leave.norm.weight.fill_(4 * PHOTO_STD)
                leave.norm.bias.fill_(4 * (PHOTO_MEAN - 0.5))
    if isinstance(network, SRNDeblurCIFAR):
        calibrate_norms(network)


def _carry(layer: nn.Module, *, gain: float = 1) -> None:
    """Make the first three features of the output those of the input, times `gain` or as a photograph's are."""
    kernels = _kernels_of_colours(layer)
    kernels.zero_()
    for colour in range(min(COLOURS, *kernels.shape[:2])):  # fewer where features are
        kernels[colour, colour, kernels.shape[2] // 2, kernels.shape[3] // 2] = gain
    if isinstance(layer, ConvNormAct):
        layer.norm.weight[:COLOURS] = PHOTO_STD
        layer.norm.bias[:COLOURS] = PHOTO_MEAN


def _quieten(layer: nn.Module, *, to: float) -> None:
    """Multiply what a layer makes of the first three features by `to`."""
    if isinstance(layer, ConvNormAct):
        layer.norm.weight[:COLOURS] *= to
    else:
        _kernels_of_colours(layer).mul_(to)


def _kernels_of_colours(layer: nn.Module) -> Tensor:
    """The part of a layer's first kernel that makes its first three features; (., ., k, k), a view."""
    for module in layer.modules():
        if isinstance(module, nn.ConvTranspose2d):
            return module.weight[:, :COLOURS]
        if isinstance(module, nn.Conv2d):
            return module.weight[:COLOURS]
    raise TypeError(f"{type(layer).__name__} has no convolution")
