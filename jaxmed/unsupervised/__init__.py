"""Clusters, densities, components and maps: what is learned without labels or networks.

Functions of arrays run on the host, and compute in float32 about the data's mean, or in float64
where that is what they are given or the answer needs it. Rows are (n, ...): an image's axes count
as one. :func:`kmeans_learner` and :func:`pca_learner` are learners, so that ``fit``, checkpoints
and several devices serve streams of images; :func:`random_projection` is a network.
"""

from jaxmed.unsupervised._explore import Exploration, NearPair, explore
from jaxmed.unsupervised.clusters._agreement import (
    adjusted_rand,
    normalised_mutual_information,
)
from jaxmed.unsupervised.clusters._choose_k import ChosenK, choose_k
from jaxmed.unsupervised.clusters._kmeans import Assigned, KMeans, kmeans
from jaxmed.unsupervised.clusters._kmeans_learner import kmeans_learner
from jaxmed.unsupervised.clusters._mixture import GaussianMixture, gaussian_mixture
from jaxmed.unsupervised.clusters._silhouette import silhouettes
from jaxmed.unsupervised.components._pca import PCA, pca
from jaxmed.unsupervised.components._pca_learner import fitted_pca, merged_pca, pca_learner
from jaxmed.unsupervised.components._random_projection import (
    enough_dimensions,
    random_projection,
)
from jaxmed.unsupervised.density._kde import KDE, kde
from jaxmed.unsupervised.maps._trust import continuity, neighbour_overlap, trustworthiness
from jaxmed.unsupervised.maps._tsne import TSNE, tsne

__all__ = [
    "KDE",
    "PCA",
    "TSNE",
    "Assigned",
    "ChosenK",
    "Exploration",
    "GaussianMixture",
    "KMeans",
    "NearPair",
    "adjusted_rand",
    "choose_k",
    "continuity",
    "enough_dimensions",
    "explore",
    "fitted_pca",
    "gaussian_mixture",
    "kde",
    "kmeans",
    "kmeans_learner",
    "merged_pca",
    "neighbour_overlap",
    "normalised_mutual_information",
    "pca",
    "pca_learner",
    "random_projection",
    "silhouettes",
    "trustworthiness",
    "tsne",
]
