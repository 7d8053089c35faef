"""Configs of every layer, both ways: Keras' builds ours, and ours builds Keras'."""

import copy
import inspect

import keras
import pytest

import lamina
from tests.layers.parity import plain

FIRST = {"data_format": "channels_first"}


def conv(rank, **more):
    """Arguments of a convolution, none of them the default."""
    return {
        "kernel_size": [2] * rank,
        "padding": "same",
        "activation": "relu",
        "use_bias": False,
        "kernel_initializer": {
            "class_name": "RandomUniform",
            "config": {"minval": -0.1, "maxval": 0.2, "seed": 3},
        },
        "kernel_regularizer": "l2",
        "bias_constraint": "non_neg",
        "activity_regularizer": "l1",
        **FIRST,
        **more,
    }


def renamed(kwargs, kernel):
    """The same with the kernel's arguments under another name."""
    return {k.replace("kernel_", f"{kernel}_", 1) if k != "kernel_size" else k: v
            for k, v in kwargs.items()}  # fmt: skip


RECURRENT = {
    "activation": "relu",
    "use_bias": False,
    "kernel_initializer": "he_normal",
    "recurrent_initializer": "zeros",
    "recurrent_regularizer": "l1",
    "kernel_constraint": "max_norm",
    "dropout": 0.1,
    "recurrent_dropout": 0.2,
    "seed": 7,
}
SEQUENCE = {
    **RECURRENT,
    "activity_regularizer": "l2",
    "return_sequences": True,
    "return_state": True,
    "go_backwards": True,
    "stateful": True,
}
AFFINE = {
    "epsilon": 1e-2,
    "center": False,
    "beta_initializer": "ones",
    "gamma_regularizer": "l2",
    "beta_constraint": "non_neg",
}
PIXELS = {"value_range": (0, 1), "seed": 5}
WARP = {"interpolation": "nearest", "fill_mode": "wrap", "fill_value": 3.0, "seed": 5}
INDEXED = {"num_oov_indices": 2, "output_mode": "multi_hot"}

# One set of arguments a layer, as few of them as can be at their defaults. Where an
# argument is a layer, a function takes the `layers` module to make it from.
CASES = {
    "Activation": {"activation": "tanh"},
    "ActivityRegularization": {"l1": 0.1, "l2": 0.2},
    **{
        f"Adaptive{kind}Pooling{rank}D": {"output_size": [2] * rank, **FIRST}
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
    "Add": {},
    "AdditiveAttention": {"use_scale": False, "dropout": 0.1},
    "AlphaDropout": {"rate": 0.3, "noise_shape": (2, 1), "seed": 5},
    "Attention": {
        "use_scale": True, "score_mode": "concat", "dropout": 0.1, "seed": 5
    },
    "AugMix": {
        "num_chains": 2, "chain_depth": 2, "factor": 0.2, "alpha": 0.5,
        "all_ops": False, "interpolation": "nearest", **PIXELS,
    },
    "AutoContrast": {"value_range": (0, 1)},
    "Average": {},
    **{
        f"{kind}Pooling{rank}D": {
            "pool_size": 3, "strides": 2, "padding": "same", **FIRST
        }
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
    "BatchNormalization": {
        "axis": 1, "momentum": 0.9, "moving_mean_initializer": "ones",
        **AFFINE,
    },
    "Bidirectional": {
        "layer": lambda layers: layers.LSTM(3, return_sequences=True),
        "backward_layer": lambda layers: layers.LSTM(
            3, return_sequences=True, go_backwards=True, name="back"
        ),
        "merge_mode": "sum",
    },
    "CategoryEncoding": {"num_tokens": 4, "output_mode": "count"},
    "CenterCrop": {"height": 3, "width": 4, **FIRST},
    "Concatenate": {"axis": 1},
    "ContrastLimitedAdaptiveHistogramEqualization": {
        "value_range": (0, 1), "clip_limit": 2.0, "tile_grid_size": (4, 4)
    },
    **{
        f"Conv{rank}D": conv(rank, filters=4, dilation_rate=2, groups=2)
        for rank in (1, 2, 3)
    },
    **{
        f"Conv{rank}DTranspose": conv(
            rank, filters=4, strides=[3] * rank, output_padding=[1] * rank
        )
        for rank in (1, 2, 3)
    },
    **{
        f"ConvLSTM{rank}D": {
            "filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", **FIRST,
            "unit_forget_bias": False, **SEQUENCE,
        }
        for rank in (1, 2, 3)
    },
    "Cropping1D": {"cropping": (1, 2)},
    "Cropping2D": {"cropping": ((1, 2), (3, 4)), **FIRST},
    "Cropping3D": {"cropping": ((1, 2), (3, 4), (5, 6)), **FIRST},
    "CutMix": {"factor": 0.5, "seed": 5, **FIRST},
    "Dense": {
        "units": 3, "activation": "gelu", "use_bias": False,
        "kernel_initializer": "he_normal", "bias_initializer": "ones",
        "kernel_regularizer": "L1L2", "bias_regularizer": "l2",
        "kernel_constraint": "unit_norm", "bias_constraint": "non_neg",
        "activity_regularizer": "l1", "lora_rank": 2, "lora_alpha": 4,
    },
    "DepthwiseConv1D": renamed(conv(1, depth_multiplier=2), "depthwise"),
    "DepthwiseConv2D": renamed(conv(2, depth_multiplier=2), "depthwise"),
    "Discretization": {"bin_boundaries": [0.5, 1.5], "output_mode": "one_hot"},
    "Dot": {"axes": (1, 2), "normalize": True},
    "Dropout": {"rate": 0.3, "noise_shape": (2, 1), "seed": 5},
    "ELU": {"alpha": 0.5},
    "EinsumDense": {
        "equation": "abc,cde->abde", "output_shape": (None, 3, 4),
        "activation": "relu", "bias_axes": "de", "kernel_regularizer": "l2",
        "bias_initializer": "ones", "kernel_constraint": "max_norm", "lora_rank": 2,
    },
    "Embedding": {
        "input_dim": 5, "output_dim": 3, "embeddings_initializer": "ones",
        "embeddings_regularizer": "l2", "embeddings_constraint": "unit_norm",
        "mask_zero": True, "lora_rank": 2,
    },
    "Equalization": {"value_range": (0, 1), "bins": 64},
    "Flatten": FIRST,
    "GRU": {**SEQUENCE, "units": 3, "reset_after": False, "unroll": True},
    "GRUCell": {**RECURRENT, "units": 3, "reset_after": False},
    "GaussianDropout": {"rate": 0.3, "seed": 5},
    "GaussianNoise": {"stddev": 0.3, "seed": 5},
    **{
        f"Global{kind}Pooling{rank}D": {"keepdims": True, **FIRST}
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
    "GroupNormalization": {"groups": 2, "axis": 1, **AFFINE},
    "GroupQueryAttention": {
        "head_dim": 4, "num_query_heads": 4, "num_key_value_heads": 2, "dropout": 0.1,
        "use_bias": False, "kernel_initializer": "he_normal", "use_gate": True,
        "kernel_regularizer": "l2", "bias_constraint": "non_neg", "seed": 5,
    },
    "HashedCrossing": {"num_bins": 7, "output_mode": "one_hot"},
    "Hashing": {
        "num_bins": 7, "mask_value": "", "salt": [1, 2], "output_mode": "one_hot"
    },
    "Identity": {},
    "InputLayer": {"batch_shape": (2, None, 3), "dtype": "int32"},
    "IntegerLookup": {
        "vocabulary": [3, 1, 4], "mask_token": 0, "oov_token": -2, **INDEXED
    },
    "LSTM": {**SEQUENCE, "units": 3, "unit_forget_bias": False, "unroll": True},
    "LSTMCell": {**RECURRENT, "units": 3, "unit_forget_bias": False},
    "LayerNormalization": {"axis": (1, 2), **AFFINE},
    "LeakyReLU": {"negative_slope": 0.1},
    "Masking": {"mask_value": 2.0},
    # Keras' leaves its fill value out of the config.
    "MaxNumBoundingBoxes": {"max_number": 3},
    "Maximum": {},
    "MelSpectrogram": {
        "fft_length": 16, "sequence_stride": 4, "sequence_length": 12,
        "window": "hamming", "sampling_rate": 100, "num_mel_bins": 5, "min_freq": 1.0,
        "max_freq": 40.0, "power_to_db": False, "top_db": 20.0, "mag_exp": 1.0,
        "min_power": 1e-3, "ref_power": 2.0,
    },
    "Minimum": {},
    "MixUp": {"alpha": 0.4, "seed": 5, **FIRST},
    "MultiHeadAttention": {
        "num_heads": 2, "key_dim": 3, "value_dim": 4, "dropout": 0.1,
        "use_bias": False, "output_shape": (5,), "attention_axes": (1,),
        "kernel_initializer": "he_normal", "kernel_regularizer": "l2",
        "bias_constraint": "non_neg", "use_gate": True, "seed": 5,
    },
    "Multiply": {},
    "Normalization": {"axis": -1, "mean": [1.0], "variance": [4.0], "invert": True},
    "PReLU": {
        "alpha_initializer": "ones", "alpha_regularizer": "l2",
        "alpha_constraint": "non_neg", "shared_axes": [1],
    },
    "Permute": {"dims": (2, 1)},
    "Pipeline": {
        "layers": lambda layers: [layers.Rescaling(2.0), layers.CenterCrop(2, 2)]
    },
    "RMSNormalization": {"axis": 1, "epsilon": 1e-2},
    "RNN": {
        "cell": lambda layers: layers.GRUCell(3), "return_sequences": True,
        "return_state": True, "go_backwards": True, "stateful": True, "unroll": True,
        "zero_output_for_mask": True,
    },
    "RandAugment": {"num_ops": 1, "factor": 0.2, "interpolation": "nearest", **PIXELS},
    "RandomBrightness": {"factor": (-0.1, 0.3), **PIXELS},
    "RandomColorDegeneration": {"factor": (0.1, 0.3), **PIXELS},
    "RandomColorJitter": {
        "brightness_factor": 0.1, "contrast_factor": 0.2, "saturation_factor": 0.3,
        "hue_factor": 0.4, **PIXELS,
    },
    "RandomContrast": {"factor": 0.3, **PIXELS},
    "RandomCrop": {"height": 3, "width": 4, "seed": 5, **FIRST},
    "RandomElasticTransform": {
        "factor": 0.5, "scale": 0.5, "value_range": (0, 1), **WARP
    },
    "RandomErasing": {"factor": 0.5, "scale": (0.1, 0.2), "fill_value": 1.0, **PIXELS},
    "RandomFlip": {"mode": "vertical", "seed": 5},
    "RandomGaussianBlur": {"factor": 0.5, "kernel_size": 5, "sigma": 0.5, **PIXELS},
    "RandomGrayscale": {"factor": 0.2},
    "RandomHue": {"factor": 0.2, **PIXELS},
    "RandomInvert": {"factor": 0.2, **PIXELS},
    "RandomPerspective": {
        "factor": 0.5, "scale": 0.5, "interpolation": "nearest", "fill_value": 2.0,
        "seed": 5,
    },
    "RandomPosterization": {"factor": 4, **PIXELS},
    "RandomRotation": {"factor": (-0.1, 0.2), **WARP},
    "RandomSaturation": {"factor": 0.3, **PIXELS},
    "RandomSharpness": {"factor": 0.3, **PIXELS},
    # Keras cannot read what its own writes for single numbers.
    "RandomShear": {"x_factor": (0.1, 0.2), "y_factor": (0.2, 0.4), **WARP},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": (-0.2, 0.3), **WARP},
    "RandomZoom": {"height_factor": 0.1, "width_factor": (-0.2, 0.3), **WARP},
    "ReLU": {"max_value": 6.0, "negative_slope": 0.1, "threshold": 0.2},
    "RepeatVector": {"n": 3},
    "Rescaling": {"scale": 0.5, "offset": -1.0},
    "Reshape": {"target_shape": (-1, 2)},
    "Resizing": {
        "height": 3, "width": 4, "interpolation": "nearest",
        "pad_to_aspect_ratio": True, "fill_value": 2.0, "antialias": True, **FIRST,
    },
    "ReversibleEmbedding": {
        "input_dim": 5, "output_dim": 3, "tie_weights": False, "mask_zero": True,
        "embeddings_regularizer": "l2", "reverse_dtype": "float32",
        "logit_soft_cap": 2.0,
    },
    "STFTSpectrogram": {
        "mode": "magnitude", "frame_length": 8, "frame_step": 4, "fft_length": 16,
        "window": "hamming", "periodic": True, "scaling": "spectrum",
        "padding": "same", "expand_dims": True,
    },
    "SeparableConv1D": {
        **renamed(conv(1, filters=4, depth_multiplier=2), "depthwise"),
        "pointwise_initializer": "ones", "pointwise_regularizer": "l1",
    },
    "SeparableConv2D": {
        **renamed(conv(2, filters=4, depth_multiplier=2), "depthwise"),
        "pointwise_initializer": "ones", "pointwise_constraint": "max_norm",
    },
    # Keras' leaves its activity regularizer out of the config.
    "SimpleRNN": {
        **SEQUENCE, "units": 3, "unroll": True, "activity_regularizer": None
    },
    "SimpleRNNCell": {**RECURRENT, "units": 3},
    "Softmax": {"axis": 1},
    "Solarization": {
        "addition_factor": 0.1, "threshold_factor": (0.2, 0.3), **PIXELS
    },
    "SpatialDropout1D": {"rate": 0.3, "seed": 5},
    "SpatialDropout2D": {"rate": 0.3, "seed": 5, **FIRST},
    "SpatialDropout3D": {"rate": 0.3, "seed": 5, **FIRST},
    "SpectralNormalization": {
        "layer": lambda layers: layers.Dense(3), "power_iterations": 2
    },
    "StackedRNNCells": {
        "cells": lambda layers: [layers.LSTMCell(3), layers.GRUCell(2)]
    },
    "StringLookup": {
        "vocabulary": ["b", "a"], "mask_token": "", "oov_token": "?", **INDEXED
    },
    "Subtract": {},
    "TextVectorization": {
        "max_tokens": 9, "standardize": "lower", "split": "character", "ngrams": 2,
        "output_sequence_length": 5, "vocabulary": ["b", "a"],
    },
    "TimeDistributed": {"layer": lambda layers: layers.Dense(3)},
    "UnitNormalization": {"axis": (1, 2)},
    "UpSampling1D": {"size": 3},
    "UpSampling2D": {"size": (2, 3), "interpolation": "bilinear", **FIRST},
    "UpSampling3D": {"size": (1, 2, 3), **FIRST},
    "Wrapper": {"layer": lambda layers: layers.Dense(3)},
    "ZeroPadding1D": {"padding": (1, 2)},
    "ZeroPadding2D": {"padding": ((1, 2), (3, 4)), **FIRST},
    "ZeroPadding3D": {"padding": ((1, 2), (3, 4), (5, 6)), **FIRST},
}  # fmt: skip

# What their constructors take besides.
BASE = {
    "Discretization": {"dtype": "bfloat16"},
    "InputLayer": {},
    "IntegerLookup": {},
    "StringLookup": {},
    "Pipeline": {},
    "SpatialDropout1D": {"dtype": "bfloat16"},
    "SpatialDropout2D": {"dtype": "bfloat16"},
    "SpatialDropout3D": {"dtype": "bfloat16"},
}
# Made from code, which no config holds; and the names of what Lamina leaves out.
WITHOUT = {
    "FlaxLayer",
    "JaxLayer",
    "Lambda",
    "Layer",
    "TFSMLayer",
    "TorchModuleWrapper",
}


def policy(name):
    config = {"name": name}
    return {"module": "keras", "class_name": "DTypePolicy", "config": config,
            "registered_name": None}  # fmt: skip


# Keras makes these only where TensorFlow is installed; this is what it wrote there.
RECORDED = {
    "HashedCrossing": {
        "config": {
            "num_bins": 7, "output_mode": "one_hot", "sparse": False, "name": "one",
            "dtype": "bfloat16",
        },
    },
    "Hashing": {
        "config": {
            "name": "one", "trainable": False, "dtype": policy("bfloat16"),
            "num_bins": 7, "salt": [1, 2], "mask_value": "", "output_mode": "one_hot",
            "sparse": False,
        },
    },
    "IntegerLookup": {
        "config": {
            "name": "one", "trainable": True, "dtype": policy("float32"),
            "invert": False, "max_tokens": None, "num_oov_indices": 2, "oov_token": -2,
            "mask_token": 0, "output_mode": "multi_hot", "sparse": False,
            "pad_to_max_tokens": False, "vocabulary_dtype": "int64",
            "idf_weights": None, "vocabulary": [3, 1, 4], "vocabulary_size": 5,
            "oov_method": "floormod", "salt": None,
        },
    },
    "StringLookup": {
        "config": {
            "name": "one", "trainable": True, "dtype": policy("float32"),
            "invert": False, "max_tokens": None, "num_oov_indices": 2, "oov_token": "?",
            "mask_token": "", "output_mode": "multi_hot", "sparse": False,
            "pad_to_max_tokens": False, "idf_weights": None, "vocabulary": ["b", "a"],
            "vocabulary_size": 4, "oov_method": "floormod", "salt": None,
            "encoding": "utf-8",
        },
    },
    "TextVectorization": {
        "config": {
            "name": "one", "trainable": False, "dtype": policy("bfloat16"),
            "max_tokens": 9, "standardize": "lower", "split": "character", "ngrams": 2,
            "output_mode": "int", "output_sequence_length": 5,
            "pad_to_max_tokens": False, "sparse": False, "ragged": False,
            "vocabulary": ["b", "a"], "idf_weights": None, "encoding": "utf-8",
            "vocabulary_size": 4,
        },
    },
}  # fmt: skip


def made(layers, name):
    kwargs = {k: v(layers) if callable(v) else v for k, v in CASES[name].items()}
    base = BASE.get(name, {"trainable": False, "dtype": "bfloat16"})
    return getattr(layers, name)(**kwargs, name="one", **base)


def test_every_layer_has_a_case():
    ours = {
        "GroupQueryAttention" if name == "GroupedQueryAttention" else name
        for value in vars(lamina.layers).values()
        if inspect.isclass(value) and issubclass(value, lamina.Layer)
        for name in [value.__name__]
    }
    assert ours - WITHOUT == set(CASES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_config_goes_both_ways(name):
    both = [lamina.layers, keras.layers]
    if name in RECORDED:
        both.pop()
        config = {"module": "keras.layers", "class_name": name, **RECORDED[name],
                  "registered_name": None}  # fmt: skip
    else:
        config = plain(keras.layers.serialize(made(keras.layers, name)))
    forgets = name in ("RandomGrayscale", "SimpleRNN")  # Keras leaves the seed out
    if forgets:
        config["config"]["seed"] = made(lamina.layers, name).seed
    assert plain(lamina.layers.serialize(made(lamina.layers, name))) == config
    for layers in both:
        again = layers.deserialize(copy.deepcopy(config))  # Keras takes from it
        expected = copy.deepcopy(config)
        if forgets and layers is keras.layers:
            del expected["config"]["seed"]
        assert plain(layers.serialize(again)) == expected
