"""Make a folder of photographs, to train a tokenizer of pictures of any kind.

    python recipes/collect_photographs.py --output photographs
    python recipes/collect_photographs.py --output photographs --packages downloads
    python recipes/train_tokenizer.py --data folder:photographs --image-size 64

The pictures come from Debian packages of wallpapers and stamps, and from scikit-image; all are
under free licences. Which files, whose they are and which photographs are for testing is listed in
photographs.toml. --packages takes names of packages, to use only those, and folders that hold .deb
files or unpacked packages (FOLDER/NAME/usr/...); what is not there, `apt-get download` fetches.

Writes train/ and test/, crops of different photographs as PNG files, and SOURCES.md: author and
licence of each picture. The same seed gives the same files.
"""

import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.replacing import replacing_directory
from shared.options import adding_to, command_parser, integer, number
from shared.photographs import PLAIN, read_sources, sources_page, write_crops
from shared.running import run

PYTHON_PACKAGES = {"scikit-image": "skimage"}
"""Packages that are installed with pip, by the module that holds their files."""


def parse_arguments(arguments=None):
    parser = command_parser(__doc__)
    option = adding_to(parser)
    option("--output", Path("photographs"), "folder to write")
    option("--packages", [], "names of packages, or folders of them", type=str, nargs="+")
    option("--crops", 6000, "pictures for training", type=integer(1))
    option("--test-crops", 600, "pictures for testing", type=integer(1))
    option("--plain", PLAIN, "part of those for training that are flat colours and gradients",
           type=number(0, 0.85))  # fmt: skip
    option("--image-size", 64, "their side in pixels", type=integer(8))
    option("--seed", 0, "random seed")
    return parser.parse_args(arguments)


def find_packages(sources, given, work):
    """Find the folders of packages, after unpacking and fetching what has to be.

    Args:
        sources: list of `Source`.
        given: names of packages, and folders that hold packages.
        work: folder for what is unpacked.

    Returns:
        A dict of folders by the name of the package.

    Raises:
        ValueError: if a name is none of a package in `sources`, or a package cannot be had.
    """
    names = list(dict.fromkeys(source.package for source in sources))
    folders = [Path(name) for name in given if Path(name).is_dir()]
    chosen = [name for name in given if not Path(name).is_dir()]
    for name in chosen:
        if name not in names:
            refuse("packages", name, "a folder or one of " + ", ".join(names))
    return {name: _find_package(name, folders, work) for name in chosen or names}


def _find_package(name, folders, work):
    for folder in folders:
        if (folder / name).is_dir():
            return folder / name
        if archives := sorted(folder.glob(f"{name}_*.deb")):
            return _unpack(archives[-1], work / name)
    if name in PYTHON_PACKAGES:
        found = importlib.util.find_spec(PYTHON_PACKAGES[name])
        if found is None:
            raise ValueError(f"{name} is not installed: pip install {name}")
        return Path(found.submodule_search_locations[0])
    return _unpack(_fetch(name, work), work / name)


def _fetch(name, work):
    if shutil.which("apt-get") is None:
        raise ValueError(
            f"the package {name} cannot be fetched, since there is no apt-get here; download its "
            ".deb file from the Debian archive, and name its folder with --packages"
        )
    print(f"Fetching {name} ...", flush=True)
    # The working directory is apt's, which writes where it stands.
    done = subprocess.run(
        ["apt-get", "download", name], cwd=work, capture_output=True, text=True, check=False
    )
    archives = sorted(work.glob(f"{name}_*.deb"))
    if done.returncode or not archives:
        reason = (done.stderr.strip() or "no file came").splitlines()[-1]
        raise ValueError(f"the package {name} cannot be fetched: {reason}")
    return archives[-1]


def _unpack(archive, folder):
    if shutil.which("dpkg-deb") is None:
        raise ValueError(
            f"{archive} cannot be unpacked, since there is no dpkg-deb here; unpack it elsewhere, "
            f"as FOLDER/{folder.name}/usr/..., and give --packages FOLDER"
        )
    done = subprocess.run(
        ["dpkg-deb", "-x", archive, folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(f"{archive} cannot be unpacked: {done.stderr.strip()}")
    return folder


def check_output(output):
    """Refuse a folder that holds something else, since it is replaced as a whole."""
    if output.exists() and not output.is_dir():
        refuse("output", str(output), "a folder")
    if output.is_dir() and any(output.iterdir()) and not (output / "SOURCES.md").is_file():
        refuse("output", str(output), "a new or empty folder, or one that this recipe has written")


def main(arguments=None):
    args = parse_arguments(arguments)
    check_output(args.output)
    sources = read_sources()
    with tempfile.TemporaryDirectory() as work:
        folders = find_packages(sources, args.packages, Path(work))
        used = [source for source in sources if source.package in folders]
        with replacing_directory(args.output) as part:
            for split, count in (("train", args.crops), ("test", args.test_crops)):
                size, seed, plain = args.image_size, args.seed, args.plain
                write_crops(part, split, count, used, folders, size, seed, plain)
            (part / "SOURCES.md").write_text(sources_page(used), encoding="utf-8")
    print(f"Wrote {args.output}: {args.crops} pictures for training, {args.test_crops} for testing")


if __name__ == "__main__":
    run(main)
