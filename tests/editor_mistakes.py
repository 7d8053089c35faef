"""What a type checker must refuse: `make lint` fails where it does not."""

# pyright: reportUnnecessaryTypeIgnoreComment=error

import lamina

lamina.layers.Densee(3)  # pyright: ignore[reportAttributeAccessIssue]
lamina.Sequentail()  # pyright: ignore[reportAttributeAccessIssue]
lamina.losses.Hubert()  # pyright: ignore[reportAttributeAccessIssue]
lamina.utils.to_categoric([1])  # pyright: ignore[reportAttributeAccessIssue]
lamina.layers.Conv2D("3", 3)  # pyright: ignore[reportArgumentType]
lamina.optimizers.Adam("0.1")  # pyright: ignore[reportArgumentType]
model = lamina.Sequential([lamina.layers.MaxPooling2D((2, 2))])
lamina.optimizers.Adam(clipnrom=1.0)  # pyright: ignore[reportCallIssue]
lamina.layers.RandomFlip(3)  # pyright: ignore[reportArgumentType]
lamina.layers.RandomRotation(0.2, fil_mode="wrap")  # pyright: ignore[reportCallIssue]
model.fti([1])  # pyright: ignore[reportAttributeAccessIssue]
model.fit(epoch=3)  # pyright: ignore[reportCallIssue]
model.compile(metric=["mae"])  # pyright: ignore[reportCallIssue]
model.compile("sgd", "mse", ["mae"])  # pyright: ignore[reportArgumentType]
lamina.saving.load_model("a.keras").fti([1])  # pyright: ignore[reportAttributeAccessIssue]
folders = lamina.utils.image_dataset_from_directory("a")
print(folders.class_names[0], folders.class_nams)  # pyright: ignore[reportAttributeAccessIssue]
history = model.fit([1])
print(history.history["loss"][0], history.histori)  # pyright: ignore[reportAttributeAccessIssue]


class Mine(lamina.Model):
    """Takes what it likes: no mistake."""

    def call(self, x, training=False):
        return x
