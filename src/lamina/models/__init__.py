"""Models: a Layer that can be trained, and the two ways to write one."""

from lamina._imports import offer as _offer
from lamina.models.cloning import clone_model as clone_model
from lamina.models.cloning import model_from_json as model_from_json
from lamina.models.graph import Function as Function
from lamina.models.model import Functional as Functional
from lamina.models.model import Model as Model
from lamina.models.sequential import Sequential as Sequential
from lamina.saving import load_model as load_model
from lamina.saving import save_model as save_model

_offer(globals())
