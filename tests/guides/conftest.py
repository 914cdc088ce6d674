import importlib.util
import sys
from pathlib import Path

import pytest

GUIDES = Path(__file__).parent.parent.parent / "guides"


@pytest.fixture(scope="session")
def build():
    spec = importlib.util.spec_from_file_location("guides_build", GUIDES / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def run_guide(build, tmp_path_factory):
    """A function that runs a guide: its namespace, all it printed, and its pictures."""

    def run(name):
        folder = tmp_path_factory.mktemp("pictures")
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(GUIDES))
            patch.setenv("GUIDE_PICTURES", str(folder))
            namespace, outputs = build.run(GUIDES / f"{name}.py", folder)
        sys.modules.pop("drawing", None)
        printed = "\n".join(text for text, _ in outputs)
        return namespace, printed, [picture for _, pictures in outputs for picture in pictures]

    return run
