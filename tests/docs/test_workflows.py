"""The workflows of a public repository are what GitHub takes, and run commands that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_they_follow_githubs_schema():
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
    ]
    checked = subprocess.run([*check, *WORKFLOWS], capture_output=True, text=True)
    assert len(WORKFLOWS) == 2 and checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_their_commands_are_tasks_of_run_sh(workflow):
    tasks = set(re.findall(r"^(\w+)\)$", (ROOT / "run.sh").read_text(), re.M))
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert commands and {command.split()[2] for command in commands} <= tasks
    assert all(command.startswith("bash run.sh ") for command in commands)
