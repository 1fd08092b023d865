"""How long a network would take to train on this device: a rough answer, for the message that it has no weights.

The recipe tells how many multiply-accumulates a training takes, a few small convolutions how many the device does in a
second. What else takes time is left out: reading pictures, validation, the optimiser.
"""

import time

import torch
from torch.nn import functional as F

from deblur_cli.host.declarations import Model
from deblur_cli.host.recipes import Recipe
from deblur_cli.host.strategies import STRATEGIES, ConditionalGAN, WassersteinGP

PICTURES, WIDTH, HEIGHT = 100, 1280, 720
"""What the time is said for, since nothing is known of the data yet. Sizes in px."""
CRITIC_KMACS = 50.0
"""Thousand multiply-accumulates that a critic takes a pixel; those that come with the program take 42 to 88."""

_LEARNING = 3
"""Passes through a network that learns: forward, backward to its input, and backward to its parameters."""
_MEASURED_S = 0.05
"""Of each precision."""


def training_time(model: Model) -> str:
    """The time by the model's first recipe on the device that `deblur train` takes by default.

    Such as "recipe fast, 20 epochs: about 9 h on this CPU for 100 pictures of 1280x720 px"; "" where nothing can be said.
    """
    if not model.recipes:
        return ""
    name, recipe = next(iter(model.recipes.items()))
    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        speed = macs_per_second(torch.device(kind))
    except RuntimeError:  # no memory left, or a driver that fails: the message matters more
        return ""
    macs = training_macs(recipe, kmacs_per_pixel=model.facts.kmacs_per_pixel)
    about = "about" if isinstance(recipe.strategy, STRATEGIES) else "at least"
    return (
        f"recipe {name}, {recipe.epochs} epoch{'s' * (recipe.epochs > 1)}: {about} {in_words(macs / speed)} "
        f"on this {'CPU' if kind == 'cpu' else 'GPU'} for {PICTURES} pictures of {WIDTH}x{HEIGHT} px"
    )


def training_macs(recipe: Recipe, *, kmacs_per_pixel: float) -> float:
    """Multiply-accumulates of a whole training on those pictures; of an unknown strategy those of the network alone."""
    picture = WIDTH * HEIGHT if recipe.crops_per_pair is None else recipe.crops_per_pair * recipe.patch**2
    alone = _LEARNING * kmacs_per_pixel
    match recipe.strategy:
        case WassersteinGP(n_critic=n) as strategy:
            # An update of the critic: the network makes a picture, the critic learns from it and from a sharp one, and
            # the penalty goes forward, back to the picture, and back through both. One of the network: there and back.
            critic = kmacs_per_pixel + (2 * _LEARNING + 6) * CRITIC_KMACS
            batches = n + 1 if strategy.critic_batches == "fresh" else 1
            both = (alone + 2 * CRITIC_KMACS + n * critic) / batches
            kmacs = strategy.pretrain_epochs * alone + (recipe.epochs - strategy.pretrain_epochs) * both
        case ConditionalGAN():
            kmacs = recipe.epochs * (alone + kmacs_per_pixel + (2 + 2 * _LEARNING) * CRITIC_KMACS)
        case _:
            kmacs = recipe.epochs * alone
    return PICTURES * picture * 1000 * kmacs


def macs_per_second(device: torch.device) -> float:
    """Speed of training small convolutions with norms, in the faster precision, which is the one that training takes.

    Takes 0.2 s. On a CPU it is measured on one thread, times their number: on all of them so short a time tells more of
    what else runs on the machine. Raises RuntimeError where the device fails.
    """
    # Where bfloat16 is emulated it is slower. An Apple GPU is trained on in float32.
    dtypes = (torch.float32,) if device.type == "mps" else (torch.float32, torch.bfloat16)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            speed = max(_speed(device, dtype) for dtype in dtypes)
    finally:
        torch.set_num_threads(threads)
    return speed * threads if device.type == "cpu" else speed


def _speed(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-accumulates a second. So wide are the first layers of most networks, which take most of the time."""
    width, side, layers, count = 32, 64, 3, 1 if device.type == "cpu" else 64
    random = torch.Generator().manual_seed(0)  # none of the program's own numbers are drawn
    pictures, kernel = (
        torch.randn(shape, generator=random)
        .to(device, dtype, memory_format=torch.channels_last)
        .requires_grad_()
        for shape in ((count, width, side, side), (width, width, 3, 3))
    )

    def seconds() -> float:
        began = time.perf_counter()
        features = pictures
        for _ in range(layers):
            features = F.relu(F.batch_norm(F.conv2d(features, kernel, padding=1), None, None, training=True))
        gradients = torch.autograd.grad(features.square().sum(), (pictures, kernel))
        gradients[1].sum().item()  # waits for the device
        return time.perf_counter() - began

    seconds()  # prepares the kernels
    until = time.perf_counter() + _MEASURED_S
    best = seconds()
    while time.perf_counter() < until:
        best = min(best, seconds())
    return _LEARNING * layers * 9 * width**2 * count * side**2 / best


def in_words(seconds: float) -> str:
    """A time as rough as it is known: "25 min", "9 h", "12 days"."""
    if seconds < 90 * 60:
        return f"{max(1, round(seconds / 60))} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{float(f'{seconds / 86400:.2g}'):,.0f} days"
