"""Settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vpr_ros.config.options import option


@dataclass(frozen=True)
class SamplerConfig:
    """Which views make a batch. Section numbers are those of our account of the method.

    SAGE's choices that no text settles (section 2.7): a node of the graph is an image (1), its
    descriptor is computed when its clique is met (2), distances have a floor (3), the pair of an
    image with itself never counts (4), and cliques may be smaller where no large one exists (6).
    """

    kind: str = option(
        'sage',
        'sage: online graph and greedy weighted cliques; cliques: mined once, members at random '
        '(the idea of CliqueMining); places: P places of K views at random',
        choices=('sage', 'cliques', 'places'),
    )
    radius_m: float = option(
        0.0,
        'tau1: views nearer than this may show one place; 0: 25 m as published, or a tenth of the '
        'smallest area where that is less',
        0.0,
        1e6,
    )
    heading_rad: float = option(
        math.pi, 'views that face apart by more never show one place', 0.0, math.pi
    )
    similar_places: int = option(15, 'P: places drawn beside each, by resemblance', 0, 10000)
    sharpness: float = option(
        1.0, 'power of (d_max - d) in that draw; more: only the most alike', 0.0, 100.0
    )
    least_clique: int = option(10, 'N: least views in a clique', 2, 10000)
    smaller_cliques: bool = option(
        True, 'take cliques of at least K views where there is none of N'
    )
    affinity_threshold: float = option(
        -math.inf, 'tau2: pairs of less affinity are no edges; the affinity is in (-2 tau1, 0]'
    )
    distance_floor_m: float = option(
        0.5, 'nearer views count as this far apart: standing still is no affinity', 0.0, 1e6
    )
    visual: str = option(
        'image',
        "whose descriptor enters the affinity: the image's, or that of one view of its place "
        '(cheaper by the views a place)',
        choices=('image', 'place'),
    )
    online: bool = option(True, 'build the graph anew for each epoch; else once, before the first')
    weighted: bool = option(
        True, 'choose the views of a clique by affinity; else at random: an ablation'
    )


@dataclass(frozen=True)
class AugmentConfig:
    """How far a training image may be changed."""

    smallest_crop: float = option(0.5, 'least side of the crop, as a share', 0.05, 1.0)
    stretch: float = option(1.25, 'largest change of the aspect ratio', 1.0, 4.0)
    tilt_deg: float = option(8.0, 'largest rotation in the image plane', 0.0, 180.0)
    mirror: float = option(0.0, 'share of mirrored images; a mirrored place is another', 0.0, 1.0)
    light: float = option(0.4, 'strength of the changes of light and colour', 0.0, 1.0)
    grey: float = option(0.2, 'share of images without colour', 0.0, 1.0)
    blur: float = option(0.2, 'share of blurred images', 0.0, 1.0)
    coarse: float = option(
        0.0, 'share of images of low resolution: a fifth to a half of the pixels a side', 0.0, 1.0
    )
    noise: float = option(0.04, 'largest standard deviation of the noise, of full scale', 0.0, 1.0)
    collage: float = option(0.0, 'share of images that receive a patch of another', 0.0, 1.0)
    random_ops: int = option(
        0, 'operations of the RandAugment kind on each image, besides; the field uses 3', 0, 10
    )
    random_strength: float = option(0.3, 'their strength', 0.0, 1.0)


@dataclass(frozen=True)
class LossConfig:
    """What the training asks for: the weight of each loss, 0 leaves it out.

    `local`, `alignment`, `separation` and `correspondences` are FoL's and FoL++'s alone.
    """

    similarity: float = option(1.0, 'multi-similarity of places', 0.0, 1e3)
    local: float = option(1.0, 'local features: hardest stranger against own place', 0.0, 1e3)
    alignment: float = option(0.005, 'SAL: saliency and reliability agree', 0.0, 1e3)
    separation: float = option(1.0, 'SCEL: what is salient is of the place', 0.0, 1e3)
    correspondences: float = option(1.0, 'pseudo-correspondences', 0.0, 1e3)
    tokens: float = option(0.0, "the teacher's patch features", 0.0, 1e3)
    relations: float = option(0.0, 'which images the teacher finds alike', 0.0, 1e3)
    temperature: float = option(0.1, 'of relations; less: the most alike count alone', 1e-3, 1e3)
    similarities: float = option(0.0, 'how alike the teacher finds them', 0.0, 1e3)


@dataclass(frozen=True)
class ValidationConfig:
    """How the weights that are kept are chosen: on places of the data that are not trained on."""

    share: float = option(
        0.1, 'of the places, held out in whole neighbourhoods; 0: none', 0.0, 0.9
    )
    every: int = option(0, 'steps between two looks; 0: after each epoch', 0)
    patience: int = option(10, 'looks without a better one that end the training; 0: never', 0)
    most_queries: int = option(2000, 'views looked at, at most', 1)


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    model: str = option('sage_nano', 'model name, see `vpr models`')
    weights: str = option('', 'checkpoint to start from; empty: the bundled or fetched one')
    backbone: str = option(
        '',
        'published backbone (DINOv2, ViT-Ti), or a checkpoint of another model of ours with the '
        'same backbone, to start a new head on',
    )
    scratch: bool = option(False, 'start from random weights')
    trainable: str = option(
        'auto',
        'head: power norms, last LayerNorm and head, on a frozen backbone; last4: its last four '
        'blocks besides; whole; auto: head for SAGE, last4 for FoL, whole from scratch',
        choices=('auto', 'head', 'last4', 'whole'),
    )
    teacher: str = option(
        '',
        'ViT-Ti/16 weights to learn from (timm names, safetensors); or, with teacher_view models, '
        'NAME=WEIGHTS of each of several models of ours',
    )
    teacher_view: str = option(
        'block',
        'what the loss relations compares of the teacher: block: pooled features of its sixth '
        'block, centred on the batch; whitened: those of three blocks, whitened on the data; '
        'models: the descriptors of several models side by side',
        choices=('block', 'whitened', 'models'),
    )
    device: str = option('auto', 'where to train', choices=('auto', 'cpu', 'cuda'))
    seed: int = option(0, 'seed of every random act', 0)
    precision: str = option(
        'auto',
        'of the forward pass; auto: bf16 on a GPU',
        choices=('auto', 'fp32', 'bf16', 'fp16'),
    )
    image_size: int = option(0, 'side of training images in pixels; 0: the input of the model', 0)
    decoders: int = option(0, 'threads that read images; 0: one a core', 0, 256)
    stored_views: int = option(
        0,
        'augmented versions of each image that are put through the frozen blocks once and for '
        'all; steps then start behind those. 0: every step augments and runs all blocks',
        0,
        1000,
    )
    steps: int = option(500, 'optimiser steps', 1)
    epoch_steps: int = option(100, 'steps of an epoch: the graph is built anew; 0: all', 0)
    accumulate: int = option(1, 'batches whose gradients are summed for one step', 1, 1000)
    places_per_batch: int = option(16, 'P, places in a batch', 1)
    views_per_place: int = option(4, 'K, images of each; 1: images at random, for distillation', 1)
    single_image_share: float = option(
        0.0,
        'share of places that are one image K times: any with the sampler places, else '
        'photographs of which nothing is known',
        0.0,
        1.0,
    )
    learning_rate: float = option(1e-4, 'peak of the AdamW learning rate', 0.0, 1.0)
    schedule: str = option(
        'cosine', 'how the rate falls after the warm-up', choices=('cosine', 'linear')
    )
    final_rate: float = option(0.01, 'rate at the end, as a share of the peak', 0.0, 1.0)
    weight_decay: float = option(1e-4, 'AdamW weight decay', 0.0, 1.0)
    warmup: float = option(0.05, 'share of the steps with a rising learning rate', 0.0, 1.0)
    average: float = option(
        0.99, 'decay of the average of weights that is kept; 0: the last', 0, 1
    )
    save_every: int = option(100, 'steps between two saved states', 1)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)


@dataclass(frozen=True)
class TrainerConfig(TrainConfig):
    """The ROS executable `trainer`: a training run, and what `vpr train` takes as arguments."""

    data: str = option(
        '', 'sources as of `vpr train --data`, separated by spaces, quoted as in sh'
    )
    output: str = option('', 'the .safetensors file to write')
    run_folder: str = option('', 'folder of state and log; empty: beside the output')
    resume: bool = option(False, 'go on with an interrupted run, or begin where there is none')
    image_topic: str = option('', 'of the bags; needed where they have several')
    pose_topic: str = option('', 'of the bags; needed where they have several')
    half: bool = option(False, 'store weights as fp16')
    head_only: bool = option(
        False, 'write only what learned, to be laid on the same backbone, which has to be given'
    )
