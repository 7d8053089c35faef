"""Networks that no kernel was written for: the same text for Lamina and Keras."""

from peers.keras_peer import conv, k, layers
from workloads import MANY, WORDS

ops = k.ops


def block(x, filters, ndim=2):
    """Two convolutions."""
    conv = {2: layers.Conv2D, 3: layers.Conv3D}[ndim]
    for _ in range(2):
        x = conv(filters, 3, padding="same", activation="relu")(x)
    return x


def resnet50(x):
    x = layers.MaxPooling2D(3, 2, padding="same")(conv(x, 64, 7, 2))
    for stage, count in enumerate((3, 4, 6, 3)):
        filters = 64 * 2**stage
        for i in range(count):
            strides = 2 if stage and not i else 1
            y = conv(conv(x, filters, 1), filters, 3, strides)
            y = conv(y, 4 * filters, 1, act=False)
            if not i:
                x = conv(x, 4 * filters, 1, strides, act=False)
            x = layers.ReLU()(layers.Add()([x, y]))
    return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))


def u_shaped(x, filters, ndim):
    down = {2: layers.MaxPooling2D, 3: layers.MaxPooling3D}[ndim]
    up = {2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}[ndim]
    kept = []
    for number in filters[:-1]:
        x = block(x, number, ndim)
        kept.append(x)
        x = down(2)(x)
    x = block(x, filters[-1], ndim)
    for number in reversed(filters[:-1]):
        x = up(number, 2, 2, padding="same")(x)
        x = block(layers.Concatenate()([x, kept.pop()]), number, ndim)
    return x


def unet(x):
    return layers.Conv2D(4, 1)(u_shaped(x, (16, 32, 64, 128), 2))


def unet3d(x):
    return layers.Conv3D(3, 1)(u_shaped(x, (8, 16, 32), 3))


def residual(x, dim, heads, **options):
    """A transformer block that normalizes first."""
    y = layers.LayerNormalization()(x)
    y = layers.MultiHeadAttention(heads, dim // heads)(y, y, **options)
    x = layers.Add()([x, y])
    y = layers.Dense(4 * dim, activation="gelu")(layers.LayerNormalization()(x))
    return layers.Add()([x, layers.Dense(dim)(y)])


class Positions(layers.Layer):
    """Adds a learnt vector for each place."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="uniform")

    def call(self, x):
        return x + self.table


def gpt(x):
    x = Positions()(layers.Embedding(WORDS, 128)(x))
    for _ in range(3):
        x = residual(x, 128, 4, use_causal_mask=True)
    return layers.Dense(WORDS)(layers.LayerNormalization()(x))


def vit(x):
    x = layers.Conv2D(96, 4, 4)(x)
    x = Positions()(layers.Reshape((64, 96))(x))
    for _ in range(4):
        x = residual(x, 96, 4)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return layers.Dense(10)(x)


def table(x):
    x = layers.Flatten()(layers.Embedding(200_000, 32)(x))
    return layers.Dense(2)(layers.Dense(64, activation="relu")(x))


def bilstm(x):
    x = layers.Embedding(WORDS, 64, mask_zero=True)(x)
    x = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(x)
    return layers.Dense(2)(layers.Bidirectional(layers.LSTM(64))(x))


def conv1d(x):
    for filters in (32, 64, 128):
        x = layers.Conv1D(filters, 5, padding="same", activation="relu")(x)
        x = layers.MaxPooling1D(2)(x)
    return layers.Dense(10)(layers.GlobalAveragePooling1D()(x))


def conv3d(x):
    for filters in (16, 32, 64):
        x = layers.Conv3D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling3D(2)(x)
    return layers.Dense(10)(layers.GlobalAveragePooling3D()(x))


def autoencoder(x):
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, 2, padding="same", activation="relu")(x)
    for filters in (64, 32):
        x = layers.Conv2DTranspose(filters, 3, 2, padding="same", activation="relu")(x)
    return layers.Conv2D(3, 3, padding="same")(x)


def augmented(x):
    x = layers.RandomFlip("horizontal")(x)
    x = layers.RandomZoom(0.1)(layers.RandomRotation(0.1)(x))
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))


def wide(x):
    for _ in range(2):
        x = layers.Dense(2048, activation="relu")(x)
    return layers.Dense(10)(x)


def convlstm(x):
    x = layers.ConvLSTM2D(16, 3, padding="same", return_sequences=True)(x)
    x = layers.ConvLSTM2D(16, 3, padding="same")(layers.BatchNormalization()(x))
    return layers.Conv2D(1, 3, padding="same")(x)


def attention(x):
    x = layers.GRU(64, return_sequences=True)(layers.Embedding(3000, 64)(x))
    x = layers.Attention()([x, x])
    return layers.Dense(2)(layers.GlobalAveragePooling1D()(x))


def grouped(x):
    for dilation in (1, 2, 4):
        y = layers.Conv2D(64, 1, use_bias=False)(x)
        y = layers.Conv2D(64, 3, padding="same", groups=8, use_bias=False)(y)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(32, 3, padding="same", dilation_rate=dilation)(y)
        x = layers.Add()([x, y])
    return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))


def application(make, x):
    return make(
        weights=None, input_tensor=x, classes=10, classifier_activation=None
    ).output


def mobilenet_v3(x):
    return application(k.applications.MobileNetV3Small, x)


def efficientnet(x):
    return application(k.applications.EfficientNetB0, x)


def tcn(x):
    x = layers.Conv1D(32, 1)(x)
    for dilation in (1, 2, 4, 8, 16, 32):
        y = x
        for _ in range(2):
            y = layers.Conv1D(
                32, 3, padding="causal", dilation_rate=dilation, activation="relu"
            )(y)
            y = layers.SpatialDropout1D(0.1)(y)
        x = layers.ReLU()(layers.Add()([x, y]))
    return layers.Dense(10)(x[:, -1])


def wavenet(x):
    x, skips = layers.Conv1D(32, 2, padding="causal")(x), []
    for number in range(10):
        halves = [
            layers.Conv1D(
                32, 2, padding="causal", dilation_rate=2 ** (number % 5), activation=f
            )(x)
            for f in ("tanh", "sigmoid")
        ]
        y = layers.Multiply()(halves)
        skips.append(layers.Conv1D(32, 1)(y))
        x = layers.Add()([x, layers.Conv1D(32, 1)(y)])
    y = layers.Conv1D(32, 1, activation="relu")(layers.ReLU()(layers.Add()(skips)))
    return layers.Conv1D(16, 1)(y)


class Sampling(layers.Layer):
    """Draws from the normal distributions of the encoder, and adds the divergence."""

    def __init__(self):
        super().__init__()
        self.seed_generator = k.random.SeedGenerator(1)

    def call(self, inputs):
        mean, log_variance = inputs
        apart = 1 + log_variance - ops.square(mean) - ops.exp(log_variance)
        self.add_loss(-0.0005 * ops.mean(ops.sum(apart, axis=1)))
        noise = k.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


def vae(x):
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, 2, padding="same", activation="relu")(x)
    x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
    x = Sampling()([layers.Dense(2)(x), layers.Dense(2)(x)])
    x = layers.Dense(7 * 7 * 64, activation="relu")(x)
    x = layers.Reshape((7, 7, 64))(x)
    for filters in (64, 32):
        x = layers.Conv2DTranspose(filters, 3, 2, padding="same", activation="relu")(x)
    return layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid")(x)


def siamese(inputs):
    seen = k.Sequential(
        [
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64),
        ]
    )
    one, other = seen(inputs["image"]), seen(inputs["other"])
    return layers.Dense(2)(ops.abs(one - other))


def dlrm(inputs):
    x = layers.Dense(16, activation="relu")(inputs["table"])
    rows = MANY["dlrm"].words["words"]
    known = [
        layers.Embedding(rows, 16)(inputs["words"][:, place]) for place in range(26)
    ]
    seen = ops.stack([x, *known], axis=1)
    met = ops.matmul(seen, ops.transpose(seen, (0, 2, 1)))
    x = layers.Concatenate()([x, layers.Flatten()(met)])
    return layers.Dense(2)(layers.Dense(64, activation="relu")(x))
