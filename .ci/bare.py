"""What a stranger installs does what README promises.

usage: python .ci/bare.py [--keep FOLDER]

Builds the sdist, a wheel from it with the compiled kernels and one without a
compiler, checks their metadata and what they link, installs each wheel alone into an
environment of its own, and runs there every block of Python of README and the docs,
and `.ci/bare_promises.py`. Runs with the Python of an environment that has the extra
`release`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What the sources ask for; Debian 10, Ubuntu 20.04 and RHEL 8 have newer ones.
OLDEST_GLIBC = (2, 24)
PAGES = ("README.md", "CONTRIBUTING.md", "docs")


def run(*command, **kwargs):
    """Run a command; end where it fails, with what it printed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, **kwargs
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def without_compiler(folder):
    """Return an environment whose path has no compiler of C++."""
    folder.mkdir()
    return os.environ | {"PATH": str(folder), "CXX": "no-such-compiler"}


def build(folder):
    """Return the wheels, with kernels and without."""
    tool = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
    run(*tool, folder, "--sdist", ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    run("tar", "-xzf", sdist, "-C", folder)
    source = folder / sdist.name.removesuffix(".tar.gz")
    plain = folder / "plain"
    run(*tool, folder, "--wheel", source)
    run(*tool, plain, "--wheel", source, env=without_compiler(folder / "path"))
    run(
        sys.executable, "-m", "twine", "check", "--strict", sdist, *folder.glob("*.whl")
    )
    (compiled,), (pure,) = folder.glob("*.whl"), plain.glob("*.whl")
    return compiled, pure


def check_compiled(wheel):
    """Say what the kernels link, and which Linux takes them."""
    names = zipfile.ZipFile(wheel).namelist()
    kernels = [name for name in names if "/kernels/native/kernels" in name]
    if not kernels:
        sys.exit(f"{wheel.name} holds no compiled kernels")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {len(kernels)} kernels")
    if sys.platform == "linux":
        verdict = run(sys.executable, "-m", "auditwheel", "show", wheel)
        tag = re.search(r"manylinux_(\d+)_(\d+)_\w+", verdict)
        if tag is None or (int(tag[1]), int(tag[2])) > OLDEST_GLIBC:
            sys.exit(f"older Linux cannot load the kernels\n{verdict}")
        print("  it runs where", tag[0], "does")


def install(wheel, folder):
    """Return the Python of a fresh environment that has the wheel alone."""
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel)
    return python


def check_installed(python, folder, kernels):
    """Run what is promised, in an empty folder that knows nothing of this one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    script = ROOT / ".ci" / "bare_promises.py"
    pages = [ROOT / page for page in PAGES]
    done = subprocess.run(
        [python, "-I", script, str(kernels), *pages],
        cwd=folder,
        env={
            "HOME": str(folder),
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "JAX_PLATFORMS": "cpu",
        },
    )
    if done.returncode:
        sys.exit(done.returncode)


def main():
    """Build, check, install and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", help="a folder for the sdist and the wheels")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        compiled, pure = build(folder / "dist")
        check_compiled(compiled)
        if not pure.name.endswith("-py3-none-any.whl"):
            sys.exit(f"{pure.name} was built without a compiler and names a platform")
        python = install(compiled, folder / "venv")
        check_installed(python, folder / "run", kernels=True)
        again = ("install", "-q", "--force-reinstall", "--no-deps", pure)
        run(python, "-m", "pip", *again, "--disable-pip-version-check")
        print(f"{pure.name}: without kernels")
        check_installed(python, folder / "run", kernels=False)
        if keep:
            Path(keep).mkdir(exist_ok=True)
            for made in (compiled, *(folder / "dist").glob("*.tar.gz")):
                shutil.copy(made, keep)


if __name__ == "__main__":
    main()
