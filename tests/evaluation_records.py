"""Records of evaluations made by hand, as `deblur eval --record` keeps them."""

import hashlib
from typing import Any


def record(
    model: str = "rednet30.photo",
    *,
    restored: dict[str, float | None],
    blurry: dict[str, float | None] | None = None,
    data: str = "gopro",
    protocol: str = "gopro-full",
    hash: str = "0a1b2c3d",
    pairs: str = "pixels",
    weights: str | None = "weights",
    **others: Any,
) -> dict[str, Any]:
    """A whole record: 11 pictures, none failed. pairs, weights : words whose hashes it has"""
    blurry = {name: 25.0 if name == "psnr" else 0.5 for name in restored} if blurry is None else blurry
    gain = {
        name: None if value is None or blurry[name] is None else value - blurry[name]
        for name, value in restored.items()
    }
    network, _, tag = model.partition(".")
    return {
        "schema": 1,
        "model": model,
        "network": network,
        "tag": tag or None,
        "options": {"depth": 15},
        "weights_sha256": None if weights is None else hashlib.sha256(f"{model}{weights}".encode()).hexdigest(),
        "parameters": 1_076_739,
        "kmacs_per_pixel": 1071.0,
        "steps": 5000,
        "protocol": {
            "name": protocol, "hash": hash, "data": data, "split": "test", "pairs": 11, "available": 11, "expected": None,
            "text": f"{data}, split test, all 11 pairs; RGB as stored",
        },
        "metrics": dict.fromkeys(restored, "a summary"),
        "pictures": 11,
        "failed": 0,
        "blurry": blurry,
        "restored": restored,
        "gain": gain,
        "std_blurry": dict.fromkeys(restored, 0.25),
        "std": dict.fromkeys(restored, 0.125),
        "pooled_psnr_blurry": 24.5,
        "pooled_psnr_restored": 26.75,
        "identical_blurry": 0,
        "identical_restored": 0,
        "seconds_per_picture": 0.51234,
        "seconds_end_to_end": 0.75,
        "metric_seconds": 0.1,
        "timed_pictures": 10,
        "warm_up_excluded": True,
        "peak_memory_bytes": 123_400_000,
        "worst": [{"name": "a", "gain": 0.5}],
        "reported": None,
        "pairs_sha256": hashlib.sha256(f"{hash}{pairs}".encode()).hexdigest(),
        "run": {"device": "cpu", "dtype": "float32", "tiling": "exact", "threads": 1, "torch": "2", "deblur_cli": "0"},
        "failures": [],
        **others,
    }  # fmt: skip
