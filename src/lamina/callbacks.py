"""Callbacks: watch a training and steer it."""

from lamina._imports import offer as _offer
from lamina.saving.orbax_checkpoint import OrbaxCheckpoint as OrbaxCheckpoint
from lamina.training.callbacks.backup_and_restore import (
    BackupAndRestore as BackupAndRestore,
)
from lamina.training.callbacks.callback import Callback as Callback
from lamina.training.callbacks.callback_list import CallbackList as CallbackList
from lamina.training.callbacks.csv_logger import CSVLogger as CSVLogger
from lamina.training.callbacks.early_stopping import EarlyStopping as EarlyStopping
from lamina.training.callbacks.history import History as History
from lamina.training.callbacks.lambda_callback import LambdaCallback as LambdaCallback
from lamina.training.callbacks.learning_rate import (
    LearningRateScheduler as LearningRateScheduler,
)
from lamina.training.callbacks.learning_rate import (
    ReduceLROnPlateau as ReduceLROnPlateau,
)
from lamina.training.callbacks.model_checkpoint import (
    ModelCheckpoint as ModelCheckpoint,
)
from lamina.training.callbacks.progbar_logger import ProgbarLogger as ProgbarLogger
from lamina.training.callbacks.remote_monitor import RemoteMonitor as RemoteMonitor
from lamina.training.callbacks.swap_ema_weights import SwapEMAWeights as SwapEMAWeights
from lamina.training.callbacks.tensorboard import TensorBoard as TensorBoard
from lamina.training.callbacks.terminate_on_nan import TerminateOnNaN as TerminateOnNaN

_offer(globals())
