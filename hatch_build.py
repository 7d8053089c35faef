"""Compiles the C++ kernels of `lamina.kernels.native` into the package.

Without a compiler the package is built all the same, and runs the plain forms. CXX
names another compiler than `c++`; LAMINA_NATIVE=0 leaves the kernels out.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "src/lamina/kernels/native"
SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
# The plainest first: it tells which of the others the machine can run.
LEVELS = {
    "": ["-march=x86-64-v2"],
    "-v3": ["-march=x86-64-v3"],
    "-v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
FLAGS = ["-O3", "-std=c++17", "-fno-math-errno", "-shared", "-fPIC"]


class NativeKernels(BuildHookInterface):
    """Adds the compiled kernels to the wheel, or to the folder of an editable one."""

    def dependencies(self):
        """Return what has the headers of XLA's interface for custom calls."""
        return ["jaxlib>=0.10"] if self._compiler() else []

    def initialize(self, version, build_data):
        """Compile, and tell the wheel that it fits one platform only."""
        if self.target_name != "wheel" or not (compiler := self._compiler()):
            return
        made = [name for name in self._compile(compiler) if name]
        if not made:
            return
        build_data["artifacts"] += [f"/{FOLDER}/{name}" for name in made]
        build_data["pure_python"] = False
        tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{tag}"

    def clean(self, versions):
        """Remove what was compiled."""
        for made in (Path(self.root) / FOLDER).glob(f"kernels*{SUFFIX}"):
            made.unlink()

    def _compiler(self):
        if os.environ.get("LAMINA_NATIVE", "1") == "0":
            return None
        return shutil.which(os.environ.get("CXX", "c++"))

    def _compile(self, compiler):
        from importlib.util import find_spec

        spec = find_spec("jaxlib")
        if spec is None or spec.origin is None:
            return []
        headers = Path(spec.origin).parent / "include"
        folder = Path(self.root) / FOLDER
        sources = sorted(str(path) for path in folder.glob("*.cc"))
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        levels = LEVELS if x86 else {"": []}

        def one(level):
            name = f"kernels{level}{SUFFIX}"
            command = [compiler, *FLAGS, *levels[level], "-isystem", str(headers)]
            command += [*sources, "-o", str(folder / name)]
            ran = subprocess.run(command, capture_output=True, text=True)
            if ran.returncode:
                self.app.display_warning(f"{name} was left out: {ran.stderr[-2000:]}")
                return None
            return name

        with ThreadPoolExecutor() as pool:
            made = list(pool.map(one, levels))
        return made if made[0] else []
