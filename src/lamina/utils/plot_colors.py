"""The colours of layers in pictures of models, and words both kinds share."""

# Pale fill and strong border of each family; they tell apart for colour-blind eyes
# too (after Okabe and Ito), and the title says what the colour only hints at.
COLORS = {
    "input": ("#eceff3", "#5f6b7a"),
    "weights": ("#dcebf7", "#0072b2"),
    "shape": ("#fdedd2", "#c77d00"),
    "normalization": ("#fbf6c9", "#a08c00"),
    "activation": ("#fbe3d6", "#d55e00"),
    "sequence": ("#f7e1ee", "#b0568a"),
    "merge": ("#d8f0e7", "#008763"),
    "op": ("#f6f6f4", "#8a8a85"),
    "model": ("#e7e4f5", "#5b4ea3"),
}
TRAINED = {True: "● trainable", False: "○ frozen"}
