"""How much disk an installation takes: `python benchmarks/size.py [--extra cpu]`.

Builds the wheel, installs it with an extra into a new environment without anything else, and counts the files of every
distribution there. Byte code that pip compiles is counted apart: it depends on the Python, and can be left out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import click
from host import store

ROOT = Path(__file__).resolve().parents[1]
OWN = "mmr-runtime"


def installed(packages: Path, leave_out: Iterable[str] = ()) -> dict[str, dict[str, int]]:
    """Distribution -> bytes of its files and of their byte code, the largest first.

    Args:
        packages: a site-packages folder.
        leave_out: distributions that are not counted.
    """
    found = {}
    for distribution in distributions(path=[str(packages)]):
        name = distribution.metadata["Name"].lower()
        if name in leave_out:
            continue
        sizes = {"bytes": 0, "byte code": 0}
        for file in distribution.files or ():
            path = Path(str(file.locate()))
            if path.is_file():
                sizes["byte code" if path.suffix == ".pyc" else "bytes"] += path.stat().st_size
        found[name] = sizes
    return dict(sorted(found.items(), key=lambda item: -item[1]["bytes"]))


def total(sizes: dict[str, dict[str, int]]) -> int:
    """Bytes of all distributions, without byte code."""
    return sum(size["bytes"] for size in sizes.values())


def site_packages(environment: Path) -> Path:
    """Of a virtual environment."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([python_of(environment), "-c", code], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def python_of(environment: Path) -> str:
    """The interpreter of a virtual environment."""
    return str(environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))


def measure(extra: str, folder: Path) -> dict[str, Any]:
    """Sizes of one extra's installation."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = next(folder.glob("*.whl"))
    environment = folder / extra
    venv.create(environment)
    subprocess.run([*pip, "--python", python_of(environment), "install", f"{wheel}[{extra}]"], check=True)
    sizes = installed(site_packages(environment))
    return {
        "wheel bytes": wheel.stat().st_size,
        "bytes": total(sizes),
        "of them mmr": sizes[OWN]["bytes"],
        "byte code": sum(size["byte code"] for size in sizes.values()),
        "distributions": sizes,
    }


@click.command()
@click.option("--extra", "extras", multiple=True, default=("cpu", "reader"), show_default=True)
def main(extras: tuple[str, ...]) -> None:
    """Measure and store results/size.json."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
        subprocess.run(build, check=True)
        figures = {extra: measure(f"cpu,{extra}" if extra != "cpu" else extra, folder) for extra in extras}
    for extra, found in figures.items():
        click.echo(f"{extra}: {found['bytes'] / 1e6:.1f} MB, of them mmr {found['of them mmr'] / 1e6:.1f} MB")
    click.echo(f"stored {store('size', figures)}", err=True)


if __name__ == "__main__":
    main()
