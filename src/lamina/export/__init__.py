"""Models as programs: files that compute without the code that made them.

`Model.export` and `ExportArchive` write them, `load` opens the `"stablehlo"` ones.
"""

from lamina._imports import offer as _offer
from lamina.export.archive import ExportArchive as ExportArchive
from lamina.export.loading import Endpoint as Endpoint
from lamina.export.loading import Exported as Exported
from lamina.export.loading import load as load

_offer(globals())
