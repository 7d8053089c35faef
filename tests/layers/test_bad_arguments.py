"""Every layer's constructor with arguments that make no sense."""

import inspect

import pytest

import lamina
from lamina import layers

UNITS = {"units": [0, -3, 2.5, "3", None]}
SIZES = {"pool_size": [0, (2,) * 9], "strides": [0], "padding": ["sane"],
         "data_format": ["channels"]}  # fmt: skip
AFFINE = {"epsilon": [-1.0, "small"], "beta_initializer": ["onez"],
          "gamma_regularizer": ["l7"], "beta_constraint": ["positive"]}  # fmt: skip
RATE = {"rate": [-0.1, 1.5, "half"]}
MERGE = {"name": ["a/b", 3]}


def convolution(kernel="kernel"):
    return {
        "kernel_size": [0, (2,) * 9], "strides": [0, -1], "padding": ["sane"],
        "data_format": ["channels"], "dilation_rate": [0], "activation": ["rulo"],
        f"{kernel}_initializer": ["he"], f"{kernel}_regularizer": ["l7"],
        f"{kernel}_constraint": ["positive"], 
    }  # fmt: skip


RECURRENT = {
    **UNITS, "activation": ["rulo"], "recurrent_initializer": ["he"],
    "kernel_regularizer": ["l7"], "bias_constraint": ["positive"],
    "dropout": [-0.1, 1.5], "recurrent_dropout": [1.5],
}  # fmt: skip
PIXELS = {"value_range": [3, (1, 2, 3)], "seed": ["one"]}
WARP = {"interpolation": ["cubic-ish"], "fill_mode": ["odd"]}

# Of each layer: what makes a right one, and wrong values of its arguments.
BAD = {
    "Activation": ({"activation": "relu"}, {"activation": ["rulo", 3]}),
    "ActivityRegularization": ({}, {"l1": [-1.0], "l2": ["much"]}),
    **{
        f"Adaptive{kind}Pooling{rank}D": (
            {"output_size": 2},
            {"output_size": [0, (1,) * 9], "data_format": ["channels"]},
        )
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
    "Add": ({}, MERGE),
    "AdditiveAttention": ({}, {"dropout": [1.5, "half"]}),
    "AlphaDropout": ({"rate": 0.5}, RATE),
    "Attention": ({}, {"score_mode": ["sum"], "dropout": [-0.1]}),
    "AugMix": ({}, {**PIXELS, "num_chains": [0], "chain_depth": [0], "factor": [2.0]}),
    "AutoContrast": ({}, {"value_range": [3]}),
    "Average": ({}, MERGE),
    **{
        f"{kind}Pooling{rank}D": ({"pool_size": 2}, SIZES)
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
    "BatchNormalization": ({}, {**AFFINE, "axis": ["last"], "momentum": ["slow"]}),
    "Bidirectional": ({"layer": layers.LSTM(2)}, {"layer": [3], "merge_mode": ["add"]}),
    "CategoryEncoding": (
        {"num_tokens": 4},
        {"num_tokens": [0, "many"], "output_mode": ["hot"], "sparse": [True]},
    ),
    "CenterCrop": ({"height": 2, "width": 2}, {"height": [0], "width": [-1]}),
    "Concatenate": ({}, {"axis": ["last"]}),
    "ContrastLimitedAdaptiveHistogramEqualization": (
        {},
        {"value_range": [3], "clip_limit": [-1.0], "tile_grid_size": [0]},
    ),
    **{
        f"Conv{rank}D": (
            {"filters": 4, "kernel_size": 3},
            {**convolution(), "filters": [0, -3, "4"], "groups": [0, 3]},
        )
        for rank in (1, 2, 3)
    },
    **{
        f"Conv{rank}DTranspose": (
            {"filters": 4, "kernel_size": 3},
            {**convolution(), "filters": [0, -3], "output_padding": [-1]},
        )
        for rank in (1, 2, 3)
    },
    **{
        f"ConvLSTM{rank}D": (
            {"filters": 4, "kernel_size": 3},
            {"filters": [0, -3], "kernel_size": [0], "padding": ["sane"],
             "activation": ["rulo"], "dropout": [1.5], "data_format": ["channels"]},
        )
        for rank in (1, 2, 3)
    },
    "Cropping1D": ({}, {"cropping": [-1, (1, 2, 3), "one"]}),
    "Cropping2D": ({}, {"cropping": [-1, (1, 2, 3)], "data_format": ["channels"]}),
    "Cropping3D": ({}, {"cropping": [-1, (1, 2)], "data_format": ["channels"]}),
    "CutMix": ({}, {"factor": ["half"]}),
    "Dense": (
        {"units": 3},
        {**UNITS, "activation": ["rulo", 3], "kernel_initializer": ["he", 3],
         "bias_regularizer": ["l7"], "kernel_constraint": ["positive"],
         "lora_rank": [0, -1], "dtype": ["float31"], "name": ["a/b"],
         "activity_regularizer": ["l7"]},
    ),
    **{
        f"DepthwiseConv{rank}D": (
            {"kernel_size": 3},
            {**convolution("depthwise"), "depth_multiplier": [0, -1]},
        )
        for rank in (1, 2)
    },
    "Discretization": (
        {"num_bins": 3},
        {"num_bins": [-1], "output_mode": ["hot"], "epsilon": [-1.0]},
    ),
    "Dot": ({"axes": 1}, {"axes": ["last", (1, 2, 3)]}),
    "Dropout": ({"rate": 0.5}, {**RATE, "seed": ["one"], "noise_shape": [3]}),
    "ELU": ({}, {"alpha": ["much"]}),
    "EinsumDense": (
        {"equation": "ab,bc->ac", "output_shape": 3},
        {"equation": ["ab->ac", 3], "activation": ["rulo"], "bias_axes": ["z"],
         "kernel_initializer": ["he"], "lora_rank": [0]},
    ),
    "Embedding": (
        {"input_dim": 4, "output_dim": 3},
        {"input_dim": [0, -1, 2.5], "output_dim": [0, "3"],
         "embeddings_initializer": ["he"], "embeddings_regularizer": ["l7"],
         "embeddings_constraint": ["positive"], "lora_rank": [0]},
    ),
    "Equalization": ({}, {"value_range": [3], "bins": [0]}),
    "FlaxLayer": (None, {"module": [3]}),
    "Flatten": ({}, {"data_format": ["channels"]}),
    "GRU": ({"units": 3}, {**RECURRENT, "unroll": [-1, "all"]}),
    "GRUCell": ({"units": 3}, RECURRENT),
    "GaussianDropout": ({"rate": 0.5}, RATE),
    "GaussianNoise": ({"stddev": 0.5}, {"stddev": [-0.1, "much"]}),
    **{
        f"Global{kind}Pooling{rank}D": ({}, {"data_format": ["channels"]})
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
    "GroupNormalization": ({}, {**AFFINE, "groups": [0, -2], "axis": ["last"]}),
    "GroupQueryAttention": (
        {"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2},
        {"head_dim": [0], "num_query_heads": [0, 3], "num_key_value_heads": [0],
         "dropout": [1.5], "kernel_initializer": ["he"]},
    ),
    "HashedCrossing": (
        {"num_bins": 4}, {"num_bins": [0], "output_mode": ["hot"], "sparse": [True]}
    ),
    "Hashing": (
        {"num_bins": 4},
        {"num_bins": [0, None], "salt": ["s"], "output_mode": ["hot"],
         "sparse": [True]},
    ),
    "Identity": ({}, MERGE),
    "InputLayer": (
        {"shape": (3,)},
        {"shape": [(-1,), "wide"], "batch_size": [-2], "dtype": ["float31"],
         "sparse": [True], "ragged": [True]},
    ),
    "IntegerLookup": (
        {},
        {"max_tokens": [0, 1], "num_oov_indices": [-1], "output_mode": ["hot"],
         "sparse": [True]},
    ),
    "JaxLayer": ({"call_fn": lambda inputs: inputs}, {"call_fn": [3]}),
    "LSTM": ({"units": 3}, {**RECURRENT, "unroll": [-1, "all"]}),
    "LSTMCell": ({"units": 3}, RECURRENT),
    "Lambda": ({"function": abs}, {"function": [3]}),
    "LayerNormalization": ({}, {**AFFINE, "axis": ["last"]}),
    "LeakyReLU": ({}, {"negative_slope": [None, "steep"]}),
    "Masking": ({}, {"mask_value": ["none"]}),
    "MaxNumBoundingBoxes": ({"max_number": 3}, {"max_number": [0, "all"]}),
    "Maximum": ({}, MERGE),
    "MelSpectrogram": (
        {},
        {"fft_length": [0], "sequence_stride": [0], "num_mel_bins": [0],
         "sampling_rate": [0], "window": ["door"]},
    ),
    "Minimum": ({}, MERGE),
    "MixUp": ({}, {"alpha": [-1.0, "much"]}),
    "MultiHeadAttention": (
        {"num_heads": 2, "key_dim": 3},
        {"num_heads": [0, -1], "key_dim": [0, 2.5], "value_dim": [0],
         "dropout": [1.5], "kernel_initializer": ["he"], "output_shape": ["wide"]},
    ),
    "Multiply": ({}, MERGE),
    "Normalization": ({}, {"axis": ["last"]}),
    "PReLU": ({}, {"alpha_initializer": ["onez"], "alpha_regularizer": ["l7"],
                   "shared_axes": ["all"]}),
    "Permute": ({"dims": (2, 1)}, {"dims": [(0, 1), (1, 3), (1, 1), "back"]}),
    "Pipeline": ({}, {"layers": [3]}),
    "RMSNormalization": ({}, {"epsilon": [-1.0], "axis": ["last"]}),
    "RNN": ({"cell": layers.GRUCell(2)}, {"cell": [3]}),
    "RandAugment": ({}, {**PIXELS, "num_ops": [-1, 1.5], "factor": [2.0]}),
    "RandomBrightness": ({"factor": 0.5}, {**PIXELS, "factor": [2.0, "much"]}),
    "RandomColorDegeneration": ({"factor": 0.5}, {**PIXELS, "factor": [2.0]}),
    "RandomColorJitter": ({}, {**PIXELS, "hue_factor": [2.0]}),
    "RandomContrast": ({"factor": 0.5}, {**PIXELS, "factor": [2.0]}),
    "RandomCrop": ({"height": 2, "width": 2}, {"height": [0], "width": [-1]}),
    "RandomElasticTransform": ({}, {**WARP, "factor": [2.0], "scale": ["big"]}),
    "RandomErasing": ({}, {**PIXELS, "factor": [2.0], "scale": ["big"]}),
    "RandomFlip": ({}, {"mode": ["sideways"], "seed": ["one"]}),
    "RandomGaussianBlur": ({}, {**PIXELS, "kernel_size": [0, 4], "sigma": [-1.0]}),
    "RandomGrayscale": ({}, {"factor": [2.0, "half"]}),
    "RandomHue": ({"factor": 0.5}, {**PIXELS, "factor": [2.0]}),
    "RandomInvert": ({}, {**PIXELS, "factor": [2.0]}),
    "RandomPerspective": (
        {}, {"factor": [2.0], "scale": [2.0], "interpolation": ["cubic-ish"]}
    ),
    "RandomPosterization": ({"factor": 4}, {"value_range": [3], "factor": [0, 9]}),
    "RandomRotation": ({"factor": 0.5}, {**WARP, "factor": [2.0, "half"]}),
    "RandomSaturation": ({"factor": 0.5}, {**PIXELS, "factor": [2.0]}),
    "RandomSharpness": ({"factor": 0.5}, {**PIXELS, "factor": [2.0]}),
    "RandomShear": ({}, {**WARP, "x_factor": [2.0], "y_factor": ["half"]}),
    "RandomTranslation": (
        {"height_factor": 0.5, "width_factor": 0.5},
        {**WARP, "height_factor": [2.0], "width_factor": ["half"]},
    ),
    "RandomZoom": ({"height_factor": 0.5}, {**WARP, "height_factor": ["half"]}),
    "ReLU": ({}, {"max_value": [-1.0], "negative_slope": [-1.0], "threshold": [-1.0]}),
    "RepeatVector": ({"n": 2}, {"n": [0, -1, 2.5]}),
    "Rescaling": ({"scale": 2.0}, {"scale": ["half"], "offset": ["low"]}),
    "Reshape": ({"target_shape": (2,)}, {"target_shape": [(-1, -1), (-3,), "flat"]}),
    "Resizing": (
        {"height": 2, "width": 2},
        {"height": [0], "interpolation": ["cubic-ish"], "fill_mode": ["mirror"]},
    ),
    "ReversibleEmbedding": (
        {"input_dim": 4, "output_dim": 3},
        {"input_dim": [0], "output_dim": [-1], "logit_soft_cap": [-1.0]},
    ),
    "STFTSpectrogram": (
        {},
        {"mode": ["loud"], "frame_length": [0], "frame_step": [0], "padding": ["sane"],
         "scaling": ["big"], "window": ["door"]},
    ),
    **{
        f"SeparableConv{rank}D": (
            {"filters": 4, "kernel_size": 3},
            {**convolution("depthwise"), "filters": [0], "depth_multiplier": [0],
             "pointwise_initializer": ["he"]},
        )
        for rank in (1, 2)
    },
    "SimpleRNN": ({"units": 3}, {**RECURRENT, "unroll": [-1, "all"]}),
    "SimpleRNNCell": ({"units": 3}, RECURRENT),
    "Softmax": ({}, {"axis": ["last"]}),
    "Solarization": ({}, {"value_range": [3], "addition_factor": [2.0]}),
    "SpatialDropout1D": ({"rate": 0.5}, RATE),
    "SpatialDropout2D": ({"rate": 0.5}, {**RATE, "data_format": ["channels"]}),
    "SpatialDropout3D": ({"rate": 0.5}, {**RATE, "data_format": ["channels"]}),
    "SpectralNormalization": (
        {"layer": layers.Dense(2)}, {"layer": [3], "power_iterations": [0, -1]}
    ),
    "StackedRNNCells": ({"cells": [layers.GRUCell(2)]}, {"cells": [3, [3]]}),
    "StringLookup": (
        {},
        {"max_tokens": [0, 1], "num_oov_indices": [-1], "output_mode": ["hot"],
         "sparse": [True]},
    ),
    "Subtract": ({}, MERGE),
    "TextVectorization": (
        {},
        {"max_tokens": [0], "standardize": ["upper"], "split": ["comma"],
         "ngrams": ["two"], "output_mode": ["hot"], "output_sequence_length": [-1],
         "ragged": [True], "sparse": [True]},
    ),
    "TimeDistributed": ({"layer": layers.Dense(2)}, {"layer": [3]}),
    "UnitNormalization": ({}, {"axis": ["last"]}),
    "UpSampling1D": ({}, {"size": [0, "2"]}),
    "UpSampling2D": ({}, {"size": [0, (1, 2, 3)], "interpolation": ["cubic-ish"]}),
    "UpSampling3D": ({}, {"size": [0, (1, 2)], "data_format": ["channels"]}),
    "Wrapper": ({"layer": layers.Dense(2)}, {"layer": [3]}),
    "ZeroPadding1D": ({}, {"padding": [-1, (1, 2, 3)], "data_format": ["channels"]}),
    "ZeroPadding2D": ({}, {"padding": [-1, (1, 2, 3)], "data_format": ["channels"]}),
    "ZeroPadding3D": ({}, {"padding": [-1, (1, 2)], "data_format": ["channels"]}),
}  # fmt: skip

# Made to be subclassed; and what Lamina leaves out, whose names only say so.
WITHOUT = {"Layer", "TFSMLayer", "TorchModuleWrapper"}


def test_every_layer_has_bad_arguments():
    ours = {
        "GroupQueryAttention" if name == "GroupedQueryAttention" else name
        for value in vars(layers).values()
        if inspect.isclass(value) and issubclass(value, lamina.Layer)
        for name in [value.__name__]
    }
    assert ours - WITHOUT == set(BAD)


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_argument(name):
    right, wrong = BAD[name]
    right = right or {}
    unsaid = []
    for argument, values in wrong.items():
        for value in values:
            try:
                getattr(layers, name)(**{**right, argument: value})
            except (ValueError, TypeError) as error:
                said = str(error)
                missing = [p for p in (argument, repr(value)) if p not in said]
                if missing or "\n" in said:
                    unsaid.append(f"{argument}={value!r}: {said}")
            else:
                unsaid.append(f"{argument}={value!r}: no error")
    assert not unsaid, "\n".join(unsaid)


@pytest.mark.parametrize(
    "name", sorted(n for n, (right, _) in BAD.items() if right is not None)
)
def test_unknown_argument(name):
    right, _ = BAD[name]
    with pytest.raises((TypeError, ValueError), match="unitz"):
        getattr(layers, name)(**right, unitz=3)
