from lamina.callbacks.progress import Progbar as Progbar
from lamina.config import disable_interactive_logging as disable_interactive_logging
from lamina.config import enable_interactive_logging as enable_interactive_logging
from lamina.config import (
    is_interactive_logging_enabled as is_interactive_logging_enabled,
)
from lamina.core.config import deserialize_keras_object as deserialize_keras_object
from lamina.core.config import serialize_keras_object as serialize_keras_object
from lamina.core.dtypes import standardize_dtype as standardize_dtype
from lamina.core.random import set_random_seed as set_random_seed
from lamina.core.registry import CustomObjectScope as CustomObjectScope
from lamina.core.registry import custom_object_scope as custom_object_scope
from lamina.core.registry import get_custom_objects as get_custom_objects
from lamina.core.registry import get_registered_name as get_registered_name
from lamina.core.registry import get_registered_object as get_registered_object
from lamina.core.registry import (
    register_keras_serializable as register_keras_serializable,
)
from lamina.core.symbolic import is_symbolic
from lamina.data.arrays import pack, unpack
from lamina.data.pydataset import PyDataset as PyDataset
from lamina.utils import bounding_boxes as bounding_boxes
from lamina.utils import legacy as legacy
from lamina.utils.arrays import get_source_inputs as get_source_inputs
from lamina.utils.arrays import normalize as normalize
from lamina.utils.arrays import pad_sequences as pad_sequences
from lamina.utils.arrays import to_categorical as to_categorical
from lamina.utils.configuration import Config as Config
from lamina.utils.datasets.audio_folder import (
    audio_dataset_from_directory as audio_dataset_from_directory,
)
from lamina.utils.datasets.image_folder import (
    image_dataset_from_directory as image_dataset_from_directory,
)
from lamina.utils.datasets.split import split_dataset as split_dataset
from lamina.utils.datasets.text_folder import (
    text_dataset_from_directory as text_dataset_from_directory,
)
from lamina.utils.datasets.timeseries import (
    timeseries_dataset_from_array as timeseries_dataset_from_array,
)
from lamina.utils.dot import model_to_dot as model_to_dot
from lamina.utils.feature_space import FeatureSpace as FeatureSpace
from lamina.utils.files import get_file as get_file
from lamina.utils.images import array_to_img as array_to_img
from lamina.utils.images import img_to_array as img_to_array
from lamina.utils.images import load_img as load_img
from lamina.utils.images import save_img as save_img
from lamina.utils.plot import plot_model as plot_model
from lamina.utils.session import clear_session as clear_session

Sequence = PyDataset
is_keras_tensor = is_symbolic
pack_x_y_sample_weight = pack
unpack_x_y_sample_weight = unpack
