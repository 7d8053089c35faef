"""Models: a Layer that can be trained, and the two ways to write one."""

from lamina.models.functional import Functional as Functional
from lamina.models.graph import Function as Function
from lamina.models.model import Model as Model
from lamina.models.sequential import Sequential as Sequential
