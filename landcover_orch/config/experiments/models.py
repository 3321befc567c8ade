"""Settings of every model family: which, and how large. The families are files of `landcover_orch.models`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from landcover_orch.config.experiments.custom import Custom
from landcover_orch.errors import pluralise
from landcover_orch.settings import Settings, named

EXPERIMENT_NAME = r"[A-Za-z0-9_-]+(\.seed-[0-9]+)?(\.fold-[0-9]+)?"
"""A name of configs/experiments, or a repetition of one."""

MEMBER = rf"^({EXPERIMENT_NAME}|models:/[A-Za-z0-9_-]+/[0-9]+)$"
"""A name of configs/experiments, a repetition of one, or a registered version as MLflow writes it."""

Width = Annotated[int, Field(ge=4, le=1024)]


class UNet(Settings):
    """The U-Net of the Sentinel-2 challenge: equally wide levels, batch-norm before each convolution."""

    name: Literal["unet"] = "unet"
    width: Width = Field(default=64, description="channels of every level")
    levels: int = Field(default=3, ge=1, le=6, description="times the network halves its input")


class SegNet(Settings):
    """VGG16's encoder, and a decoder that unpools by its indices."""

    name: Literal["segnet"] = "segnet"
    width: Width = Field(default=64, description="channels of the first level")
    levels: int = Field(default=5, ge=1, le=6, description="times the network halves its input")


class ENet(Settings):
    """A small and fast encoder-decoder of bottlenecks."""

    name: Literal["enet"] = "enet"
    width: Width = Field(default=16, description="channels of the first block; later ones have 4 and 8 times as many")


class ResUNet(Settings):
    """The U-Net family of the Potsdam and INRIA study."""

    name: Literal["resunet"] = "resunet"
    width: Width = Field(default=32, description="channels of the first level; they double with depth")
    skips: Literal[3, 4, 5] = Field(default=4, description="skip connections, and times the network halves its input")
    residual: bool = Field(default=True, description="residual blocks instead of plain ones")
    centre: Literal["plain", "residual", "serial", "parallel"] = Field(
        default="serial", description="block at the bottom; serial and parallel are stacks of dilated convolutions"
    )


class Trunk(Settings):
    """A ResNet without its head, with torchvision's parameter names."""

    depth: Literal[18, 34, 50, 101] = Field(default=50, description="layers, as in ResNet-50")
    width: Width = Field(default=64, description="channels of the first convolution; 64 is the paper's")
    biases: bool = Field(default=False, description="convolutions keep a bias, as in Keras")
    weights: str | None = Field(
        default=None,
        description="state dict below LANDCOVER_HOME/weights (.safetensors, or .pth without code in it); "
        "empty: a random start",
    )

    @model_validator(mode="after")
    def _pretrained_is_64_wide(self) -> Self:
        if self.weights and self.width != 64:
            raise ValueError(f"weights fit a trunk of width 64, not {self.width}: drop `weights`, or `width`")
        return self


class ResNetFCN(Settings):
    """1x1 heads after the stages of stride 8, 16 and 32 of a ResNet, enlarged and summed."""

    name: Literal["resnet_fcn"] = "resnet_fcn"
    trunk: Trunk = Field(default=Trunk(), description="the ResNet under the heads")


class PSPNet(Settings):
    """Pyramid pooling over a dilated ResNet."""

    name: Literal["pspnet"] = "pspnet"
    trunk: Trunk = Field(default=Trunk(), description="the ResNet under the pyramid")
    bins: tuple[Annotated[int, Field(ge=1, le=32)], ...] = Field(
        default=(1, 2, 3, 6), min_length=1, description="cells a side of each level of the pyramid"
    )


class DeepLabV3(Settings):
    """Atrous spatial pyramid over a dilated ResNet."""

    name: Literal["deeplabv3"] = "deeplabv3"
    trunk: Trunk = Field(default=Trunk(), description="the ResNet under the pyramid")
    output_stride: Literal[8, 16] = Field(default=16, description="input pixels a pixel of the features")


class PixelClassifier(Settings):
    """1x1 convolutions: each pixel by its own bands alone."""

    name: Literal["pixel_classifier"] = "pixel_classifier"
    width: Width = Field(default=64, description="channels of the hidden layers")
    layers: int = Field(default=2, ge=0, le=8, description="hidden layers; 0: multinomial logistic regression")


class PatchClassifier(Settings):
    """Sliding window: a small network predicts the class of a window's central pixel."""

    name: Literal["patch_classifier"] = "patch_classifier"
    window: int = Field(default=33, ge=5, le=129, description="side of the window in pixels, odd")
    width: Width = Field(default=32, description="channels of the first convolution")
    step: int = Field(default=4, ge=1, le=64, description="pixels between windows; between them classes are enlarged")

    @model_validator(mode="after")
    def _has_a_central_pixel(self) -> Self:
        if self.window % 2 == 0:
            raise ValueError(f"a window of {self.window} has no central pixel: take {self.window + 1}")
        if self.step > self.window:
            raise ValueError(f"windows of {self.window} that are {self.step} apart miss pixels: lower `step`")
        return self


class Hypercolumn(Settings):
    """Features of every level, enlarged and stacked, classified pixel by pixel."""

    name: Literal["hypercolumn"] = "hypercolumn"
    width: Width = Field(default=32, description="channels of the first level")
    levels: int = Field(default=4, ge=2, le=5, description="levels that are stacked")


class FCN(Settings):
    """VGG16 made convolutional, enlarged by transposed convolutions: FCN-32s, 16s or 8s."""

    name: Literal["fcn"] = "fcn"
    stride: Literal[8, 16, 32] = Field(default=8, description="stride of the finest features that are used")
    width: Width = Field(default=64, description="channels of the first level; 64 is the paper's")


class SwinUNet(Settings):
    """A Swin transformer as encoder, with a decoder of Swin blocks or of convolutions."""

    name: Literal["swin_unet"] = "swin_unet"
    width: Width = Field(default=96, description="channels of the first stage; they double with depth")
    depths: tuple[Annotated[int, Field(ge=1, le=24)], ...] = Field(
        default=(2, 2, 2, 2), min_length=2, max_length=4, description="blocks of each stage"
    )
    heads: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        default=(3, 6, 12, 24), min_length=2, max_length=4, description="attention heads of each stage"
    )
    window: int = Field(default=8, ge=2, le=16, description="side of the attention's windows in tokens")
    patch: Literal[1, 2, 4, 8] = Field(default=4, description="side of a token in pixels")
    drop_path: float = Field(default=0.1, ge=0, lt=1, description="probability that training skips the deepest block")
    decoder: Literal["swin", "convolutional"] = Field(default="swin", description="blocks of the decoder")

    @model_validator(mode="after")
    def _heads_share_the_channels(self) -> Self:
        if len(self.heads) != len(self.depths):
            raise ValueError(
                f"{pluralise(len(self.depths), 'stage')} (depths) and {pluralise(len(self.heads), 'number')} of heads"
            )
        odd = [h for stage, h in enumerate(self.heads) if self.width * 2**stage % h]
        if odd:
            raise ValueError(f"heads {odd} do not divide the channels of their stage: width {self.width} x 2^stage")
        return self


class Zoo(Settings):
    """Any decoder and encoder of segmentation-models-pytorch; needs the extra `zoo`."""

    name: Literal["zoo"] = "zoo"
    decoder: str = Field(default="unet", pattern=r"^[a-z0-9+]+$", description="decoder, as in `smp.create_model`")
    encoder: str = Field(default="resnet18", pattern=r"^[A-Za-z0-9_.-]+$", description="encoder; timm's begin with tu-")
    weights: str | None = Field(
        default=None,
        description="the encoder's state dict below LANDCOVER_HOME/weights; empty: a random start",
    )


class CustomNetwork(Custom):
    """A network of your own: `build(bands=..., classes=..., **arguments)` gives a torch module."""


class RandomForest(Settings):
    """Decision trees over bands and simple texture of single pixels: no deep learning."""

    name: Literal["random_forest"] = "random_forest"
    trees: int = Field(default=40, ge=1, le=1000, description="trees that vote")
    leaves: int = Field(default=1024, ge=2, le=65536, description="leaves of a tree at most")
    texture: tuple[Annotated[int, Field(ge=3, le=65)], ...] = Field(
        default=(3, 9), description="windows, in pixels, of which each band's mean and deviation are added"
    )
    pixels: int = Field(
        default=100_000,
        ge=100,
        le=10_000_000,
        description="train pixels drawn, equally by class; each counts for as many as it stands for",
    )


class KMeans(Settings):
    """Clusters of bands and simple texture, each named after the majority of its train pixels."""

    name: Literal["k_means"] = "k_means"
    clusters: int = Field(default=256, ge=2, le=4096, description="clusters; several may become one class")
    texture: tuple[Annotated[int, Field(ge=3, le=65)], ...] = Field(
        default=(3, 9), description="windows, in pixels, of which each band's mean and deviation are added"
    )
    pixels: int = Field(default=100_000, ge=100, le=10_000_000, description="train pixels drawn at random")


class Ensemble(Settings):
    """Ensemble of trained models; nothing is learnt. Of one member: its model under other `prediction`."""

    name: Literal["ensemble"] = "ensemble"
    members: tuple[Annotated[str, Field(pattern=MEMBER)], ...] = Field(
        min_length=1,
        max_length=100,
        description="experiments (trained first where they are not yet; one that repeats: all its repetitions), single "
        "repetitions, or registered versions (models:/DATASET/3)",
    )
    combine: Literal["mean", "vote"] = Field(default="mean", description="mean of probabilities, or one vote a member")

    @model_validator(mode="after")
    def _members_differ(self) -> Self:
        twice = sorted({member for member in self.members if self.members.count(member) > 1})
        if twice:
            raise ValueError(f"members {twice} are listed twice: a model has one vote")
        return self


Classical = RandomForest | KMeans
"""Classical models: fitted to single pixels, in one go, without gradients."""

Network = (
    UNet
    | SegNet
    | ENet
    | ResUNet
    | ResNetFCN
    | PSPNet
    | DeepLabV3
    | PixelClassifier
    | PatchClassifier
    | Hypercolumn
    | FCN
    | SwinUNet
    | Zoo
    | CustomNetwork
)
"""Networks: models that learn by gradients."""

Model = Annotated[Network | Classical | Ensemble, Field(discriminator="name"), BeforeValidator(named)]
