"""Models that draw images.

Every trained generator has one signature, :class:`Draw`, made by its family's factory (by
:func:`drawing`): :func:`draw_images` draws any number of images from it in bounded memory, each by
a key of its own. :func:`save_generative_model` writes a trained one for `jaxmed generate`, with a
:class:`GenerativeRecipe` that says how it draws.

Diffusion: :func:`denoising` trains any network that is told the time
(:func:`jaxmed.networks.denoiser_unet`, or any other by :func:`timed`) on a :class:`Process`,
:func:`ddpm`, :func:`edm` or :func:`flow`; :func:`diffusion_sampler` draws,
:func:`inpainting_sampler` fills in what is missing. :func:`coarse_map` shows what super-resolution
draws by, :func:`bridging` learns the way from one image to another, :func:`latent` learns on the
latents of an autoencoder.

Adversarial ones: :func:`gan` trains a generator against a critic, :func:`pix2pix` one that
translates images, from pairs, and :func:`cycle` two without pairs; each is a
:class:`~jaxmed.core.Learner` of two players, whose objectives are :func:`critic_loss` and
:func:`generator_loss`. :func:`spectral_norm` bounds a critic,
:func:`differentiable_augmentation` spares it small data sets. :func:`gan_sampler` and
:func:`translation_sampler` draw, :func:`translate_images` translates.

Autoencoders: :func:`vae` trains a variational one, plain or hierarchical, by its evidence lower
bound in nats, and :func:`vae_sampler` draws from it; :func:`importance_bound` bounds the
probability of test images. :func:`vq_vae` trains a codec with a codebook. :func:`encode` and
:func:`decode` lie between images and latents.

Energy-based ones: :func:`rbm`, a restricted Boltzmann machine of binary or Gaussian pixels, is a
:class:`~jaxmed.core.Network`; :func:`contrastive_divergence` (persistent or not, centred, sparse),
:func:`pseudo_likelihood` and :func:`score_matching` are objectives that train it with
:func:`jaxmed.fit` like any other network. :func:`gibbs` and :func:`sample` draw from it;
:func:`log_partition` estimates its partition function, exactly or by annealing, and
:func:`log_likelihood` the probability of test images, in nats.

Deep ones: :func:`fit_layers` trains RBMs or autoencoders greedily, :func:`from_rbms` makes a
:func:`belief_network` of them, :func:`wake_sleep` tunes it, :func:`generate` draws from it,
:func:`belief_bound` bounds the probability of test images. A :func:`deep_boltzmann` machine learns
by :func:`stochastic_approximation`, from the start or from layers that were trained one by one
(:func:`deep_layers`, :func:`deep_from_rbms`); :func:`as_rbm` shows it as a restricted one, for
chains and for its partition function. Both are tuned under a head by plain
:func:`jaxmed.supervised`.
"""

from jaxmed.generative._drawing import Draw, draw_images, drawing, image_keys
from jaxmed.generative._model import (
    GenerativeModel,
    GenerativeRecipe,
    load_generative_model,
    save_generative_model,
)
from jaxmed.generative._residual import residual_translator
from jaxmed.generative.adversarial._augmentation import differentiable_augmentation
from jaxmed.generative.adversarial._cycle import cycle
from jaxmed.generative.adversarial._gan import gan, gan_sampler
from jaxmed.generative.adversarial._objectives import NoiseInputs, critic_loss, generator_loss
from jaxmed.generative.adversarial._penalties import gradient_penalty, r1_penalty
from jaxmed.generative.adversarial._pix2pix import pix2pix
from jaxmed.generative.adversarial._spectral import spectral_norm
from jaxmed.generative.adversarial._translate import translate_images, translation_sampler
from jaxmed.generative.adversarial._two_way import two_way
from jaxmed.generative.autoencoders._bound import importance_bound
from jaxmed.generative.autoencoders._codec import decode, encode, vae_sampler
from jaxmed.generative.autoencoders._vae import vae
from jaxmed.generative.autoencoders._vq import vq_vae
from jaxmed.generative.diffusion._bridge import bridge_sampler, bridging
from jaxmed.generative.diffusion._bridge_network import bridge_network
from jaxmed.generative.diffusion._denoising import denoising
from jaxmed.generative.diffusion._inpainting import inpainting_sampler
from jaxmed.generative.diffusion._latent import (
    Codec,
    latent,
    latent_network,
    latent_sampler,
    latent_statistics,
    latent_variables,
)
from jaxmed.generative.diffusion._process import Process, ddpm, edm, flow
from jaxmed.generative.diffusion._sampler import diffusion_sampler
from jaxmed.generative.diffusion._super_resolution import coarse_map, fine_grid
from jaxmed.generative.diffusion._timed import timed
from jaxmed.generative.energy._approximation import stochastic_approximation
from jaxmed.generative.energy._belief import belief_network, from_rbms, generate, wake_sleep
from jaxmed.generative.energy._belief_bound import belief_bound
from jaxmed.generative.energy._deep_boltzmann import as_rbm, deep_boltzmann
from jaxmed.generative.energy._deep_layers import deep_from_rbms, deep_layers
from jaxmed.generative.energy._divergence import contrastive_divergence
from jaxmed.generative.energy._layers import above, fit_layers
from jaxmed.generative.energy._likelihood import log_likelihood
from jaxmed.generative.energy._matching import pseudo_likelihood, score_matching
from jaxmed.generative.energy._partition import log_partition
from jaxmed.generative.energy._pixels import binarised
from jaxmed.generative.energy._rbm import free_energy, gibbs, rbm, sample

__all__ = [
    "Codec",
    "Draw",
    "GenerativeModel",
    "GenerativeRecipe",
    "NoiseInputs",
    "Process",
    "above",
    "as_rbm",
    "belief_bound",
    "belief_network",
    "binarised",
    "bridge_network",
    "bridge_sampler",
    "bridging",
    "coarse_map",
    "contrastive_divergence",
    "critic_loss",
    "cycle",
    "ddpm",
    "decode",
    "deep_boltzmann",
    "deep_from_rbms",
    "deep_layers",
    "denoising",
    "differentiable_augmentation",
    "diffusion_sampler",
    "draw_images",
    "drawing",
    "edm",
    "encode",
    "fine_grid",
    "fit_layers",
    "flow",
    "free_energy",
    "from_rbms",
    "gan",
    "gan_sampler",
    "generate",
    "generator_loss",
    "gibbs",
    "gradient_penalty",
    "image_keys",
    "importance_bound",
    "inpainting_sampler",
    "latent",
    "latent_network",
    "latent_sampler",
    "latent_statistics",
    "latent_variables",
    "load_generative_model",
    "log_likelihood",
    "log_partition",
    "pix2pix",
    "pseudo_likelihood",
    "r1_penalty",
    "rbm",
    "residual_translator",
    "sample",
    "save_generative_model",
    "score_matching",
    "spectral_norm",
    "stochastic_approximation",
    "timed",
    "translate_images",
    "translation_sampler",
    "two_way",
    "vae",
    "vae_sampler",
    "vq_vae",
    "wake_sleep",
]
