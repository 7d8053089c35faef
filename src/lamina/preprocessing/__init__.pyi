from lamina.preprocessing import image as image
from lamina.preprocessing import sequence as sequence
from lamina.utils.datasets.image_folder import (
    image_dataset_from_directory as image_dataset_from_directory,
)
from lamina.utils.datasets.text_folder import (
    text_dataset_from_directory as text_dataset_from_directory,
)
from lamina.utils.datasets.timeseries import (
    timeseries_dataset_from_array as timeseries_dataset_from_array,
)
