"""keras-hub: backbones, generation, layers, samplers, metrics, files."""

import keras
import keras_hub
import numpy as np

SIZES = {
    "vocabulary_size": 50, "num_layers": 2, "num_heads": 2, "hidden_dim": 16,
    "intermediate_dim": 32, "max_sequence_length": 16,
}  # fmt: skip
X = {
    "token_ids": np.ones((2, 8), "int32"),
    "padding_mask": np.ones((2, 8), "int32"),
}


PLAIN = {
    "vocabulary_size": 50, "num_layers": 1, "hidden_dim": 16, "intermediate_dim": 32,
}  # fmt: skip
HEADS = {**PLAIN, "num_heads": 2}
GROUPS = {**PLAIN, "num_query_heads": 2, "num_key_value_heads": 1}
LANGUAGE = {
    "GPT2": SIZES,
    "OPT": {**HEADS, "max_sequence_length": 16},
    "Bloom": HEADS,
    "GPTNeoX": HEADS,
    "Llama": GROUPS,
    "Mistral": GROUPS,
    "Gemma": {**GROUPS, "head_dim": 8},
    "Phi3": GROUPS,
    "Falcon": {**PLAIN, "num_attention_heads": 2},
    "Qwen": GROUPS,
}


def model_of(name):
    keras.utils.set_random_seed(0)
    backbone = getattr(keras_hub.models, f"{name}Backbone")(**LANGUAGE[name])
    made = getattr(keras_hub.models, f"{name}CausalLM")
    return made(backbone=backbone, preprocessor=None)


def generated(model, sampler):
    model.compile(sampler=sampler)
    prompt = {**X, "padding_mask": np.array([[1, 1, 1, 0, 0, 0, 0, 0]] * 2, "int32")}
    made = model.generate(prompt, stop_token_ids=None)
    return np.asarray(made["token_ids"]).tolist()


def generating(name):
    """Return the case of a model: the tokens that it generates."""

    def case():
        return generated(model_of(name), "greedy")

    case.__name__ = name
    return case


def samplers():
    kinds = "GreedySampler", "BeamSampler", "RandomSampler", "TopKSampler"
    made = []
    for name in (*kinds, "TopPSampler"):
        settings = {"num_beams": 2} if name == "BeamSampler" else {"seed": 0}
        if name == "GreedySampler":
            settings = {}
        elif name == "TopKSampler":
            settings = {"k": 3, "seed": 0}
        sampler = getattr(keras_hub.samplers, name)(**settings)
        made.append(generated(model_of("GPT2"), sampler))
    return made


def bert():
    backbone = keras_hub.models.BertBackbone(**SIZES)
    made = backbone.predict({**X, "segment_ids": 0 * X["token_ids"]}, verbose=0)
    return {name: np.asarray(value).shape for name, value in made.items()}


def resnet():
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64], stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2], block_type="basic_block",
        image_shape=(16, 16, 3),
    )  # fmt: skip
    return backbone.predict(np.ones((1, 16, 16, 3)), verbose=0).shape


def layers():
    x = np.ones((1, 4, 8), "float32")
    encoded = keras_hub.layers.TransformerEncoder(32, 2)(x)
    decoded = keras_hub.layers.TransformerDecoder(32, 2)(x)
    placed = keras_hub.layers.PositionEmbedding(6)(x)
    return encoded.shape, decoded.shape, placed.shape


def metrics():
    perplexity = keras_hub.metrics.Perplexity(from_logits=True)
    y = np.ones((1, 3), "int32"), np.ones((1, 3, 5), "float32")
    return round(float(perplexity(*y)), 4)


def files():
    model = keras_hub.models.GPT2Backbone(**SIZES)
    model.save("hub.keras")
    again = keras.models.load_model("hub.keras")
    return bool(np.allclose(again.predict(X, verbose=0), model.predict(X, verbose=0)))


CASES = (*map(generating, LANGUAGE), samplers, bert, resnet, layers, metrics, files)
