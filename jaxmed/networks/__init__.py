"""Networks: Flax Linen modules, one family per file, for 1D, 2D and 3D images.

Each takes `(batch, *spatial, channels)`; the number of spatial axes is inferred from the input.
Each returns a dict of named endpoints:

- `features` `(batch, f)`: pooled, float32;
- `pyramid`: a tuple of maps, finest first, in the dtype of the computation;
- `logits`, float32: `(batch, classes)`, or `(batch, *spatial, classes)` for segmentation; absent
  from a trunk, i.e. a network created without `classes`;
- `deep`: a tuple of logits, finest first, of a U-Net with deep supervision;
- `box` and `anchor` of a :class:`RetinaHead`;
- `tokens` `(batch, patches, width)` of a vision transformer.

Recurrent networks return the same; on sequences `(batch, time, channels)` they also take a dict
`{"image": ..., "length": ...}`.

Bag poolings, which `jaxmed.paradigms.multiple_instance` accepts by name, map `features`
`(bags, instances, f)` and a `bag_mask` to endpoints of the bag.

`dtype=jnp.bfloat16` computes in half precision with float32 parameters, statistics and logits.
`remat=True` recomputes blocks in the backward pass. All convolutions use `jaxmed.ops`.
"""

from jaxmed.networks.bags._pooling import AdditivePooling, AttentionPooling, SimplePooling
from jaxmed.networks.bags._relations import DualStreamPooling, TransformerPooling
from jaxmed.networks.generators._critic import PatchCritic, patch_critic
from jaxmed.networks.generators._dcgan import DCGANGenerator, dcgan_generator
from jaxmed.networks.generators._ladder import LadderVAE, ladder_vae
from jaxmed.networks.generators._style import ModulatedConv, StyleGenerator, style_generator
from jaxmed.networks.generators._vae import ImageVAE, image_vae
from jaxmed.networks.generators._vq import Codebook, VQCodec, vq_codec
from jaxmed.networks.heads._answers import (
    ClassificationHead,
    LinearHead,
    ProjectionHead,
    SegmentationHead,
)
from jaxmed.networks.heads._feature_pyramid import FeaturePyramid, pyramid
from jaxmed.networks.heads._loss import LossHead
from jaxmed.networks.heads._pyramid import PyramidHead
from jaxmed.networks.heads._retina import RetinaHead
from jaxmed.networks.layers._convolution import (
    Conv,
    ConvTranspose,
    he_fan_in,
    he_fan_out,
    torch_uniform,
)
from jaxmed.networks.layers._norm import BatchNorm, GroupNorm, InstanceNorm, NoNorm, make_norm
from jaxmed.networks.recurrent._recurrent import (
    Hierarchical,
    Recurrent,
    hierarchical,
    recurrent,
)
from jaxmed.networks.recurrent._sweeps import (
    SweepNetwork,
    conv_gru,
    conv_lstm,
    mdgru,
    mdlstm,
    pyramid_lstm,
)
from jaxmed.networks.vision._decoder import Decoder
from jaxmed.networks.vision._denoiser import DenoiserUNet, denoiser_unet
from jaxmed.networks.vision._random_convolutions import RandomConvolutions, random_convolutions
from jaxmed.networks.vision._stacking import StackingModule
from jaxmed.networks.vision.classifiers._cnn import CNN, cnn
from jaxmed.networks.vision.classifiers._convnext import ConvNeXt, convnext
from jaxmed.networks.vision.classifiers._densenet import (
    DenseNet,
    densenet121,
    densenet169,
    densenet201,
)
from jaxmed.networks.vision.classifiers._efficientnet import (
    EfficientNet,
    efficientnet,
    efficientnet_lite0,
)
from jaxmed.networks.vision.classifiers._mlp import MLP, mlp
from jaxmed.networks.vision.classifiers._resnet import ResNet, resnet8, resnet18, resnet34, resnet50
from jaxmed.networks.vision.classifiers._tabular import Tabular, tabular
from jaxmed.networks.vision.classifiers._vit import TokenDecoder, ViT, vit
from jaxmed.networks.vision.segmenters._attention_unet import AttentionUNet
from jaxmed.networks.vision.segmenters._long_range import MambaUNet, TransUNet
from jaxmed.networks.vision.segmenters._mednext import MedNeXt, mednext
from jaxmed.networks.vision.segmenters._segresnet import SegResNet
from jaxmed.networks.vision.segmenters._swin_unetr import SwinUNETR
from jaxmed.networks.vision.segmenters._unet import UNet, unet
from jaxmed.networks.vision.segmenters._unet_plan import UNetPlan, plan_unet
from jaxmed.networks.vision.segmenters._unet_plus_plus import UNetPlusPlus
from jaxmed.networks.vision.segmenters._unetr import UNETR
from jaxmed.networks.vision.segmenters._vnet import VNet
from jaxmed.networks.weights._imagenet import imagenet_lite0
from jaxmed.networks.weights._name_map import from_tensors, inflate
from jaxmed.networks.weights._published import Converted, from_published, published
from jaxmed.networks.weights._tensor_files import read_tensors

__all__ = [
    "CNN",
    "MLP",
    "UNETR",
    "AdditivePooling",
    "AttentionPooling",
    "AttentionUNet",
    "BatchNorm",
    "ClassificationHead",
    "Codebook",
    "Conv",
    "ConvNeXt",
    "ConvTranspose",
    "Converted",
    "DCGANGenerator",
    "Decoder",
    "DenoiserUNet",
    "DenseNet",
    "DualStreamPooling",
    "EfficientNet",
    "FeaturePyramid",
    "GroupNorm",
    "Hierarchical",
    "ImageVAE",
    "InstanceNorm",
    "LadderVAE",
    "LinearHead",
    "LossHead",
    "MambaUNet",
    "MedNeXt",
    "ModulatedConv",
    "NoNorm",
    "PatchCritic",
    "ProjectionHead",
    "PyramidHead",
    "RandomConvolutions",
    "Recurrent",
    "ResNet",
    "RetinaHead",
    "SegResNet",
    "SegmentationHead",
    "SimplePooling",
    "StackingModule",
    "StyleGenerator",
    "SweepNetwork",
    "SwinUNETR",
    "Tabular",
    "TokenDecoder",
    "TransUNet",
    "TransformerPooling",
    "UNet",
    "UNetPlan",
    "UNetPlusPlus",
    "VNet",
    "VQCodec",
    "ViT",
    "cnn",
    "conv_gru",
    "conv_lstm",
    "convnext",
    "dcgan_generator",
    "denoiser_unet",
    "densenet121",
    "densenet169",
    "densenet201",
    "efficientnet",
    "efficientnet_lite0",
    "from_published",
    "from_tensors",
    "he_fan_in",
    "he_fan_out",
    "hierarchical",
    "image_vae",
    "imagenet_lite0",
    "inflate",
    "ladder_vae",
    "make_norm",
    "mdgru",
    "mdlstm",
    "mednext",
    "mlp",
    "patch_critic",
    "plan_unet",
    "published",
    "pyramid",
    "pyramid_lstm",
    "random_convolutions",
    "read_tensors",
    "recurrent",
    "resnet8",
    "resnet18",
    "resnet34",
    "resnet50",
    "style_generator",
    "tabular",
    "torch_uniform",
    "unet",
    "vit",
    "vq_codec",
]
