"""What can be chosen by name, the same in every command."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """What is written."""

    TRIPLES = "triples"
    DOCUMENTS = "documents"
    BRAT = "brat"


class Provider(StrEnum):
    """What the networks run on."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"
    COREML = "coreml"


class Precision(StrEnum):
    """Which of a bundle's encoders runs."""

    INT8 = "int8"
    FP16 = "fp16"
    FP32 = "fp32"


class Quantizer(StrEnum):
    """Who makes an int8 encoder, and for which processors."""

    EMLB = "emlb"
    OPTIMUM_AVX2 = "optimum-avx2"
    OPTIMUM_AVX512 = "optimum-avx512"
    OPTIMUM_AVX512_VNNI = "optimum-avx512-vnni"
    OPTIMUM_ARM64 = "optimum-arm64"
