"""Model cards: the README.md of a preset, with the front matter that hubs read.

Free of keras: what a model is comes from `keras_regvq.models.card_facts`.
"""

import json
import numbers
import re
from pathlib import Path

import yaml

from keras_regvq.checks.arguments import refuse

CARD = "README.md"
MARK = "# Written by keras_regvq. Saving again replaces this file; without this line it is yours."
TEXTS = ("description", "data", "data_license", "license", "command")
# As hubs have them: apache-2.0, cc-by-sa-4.0, other.
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.-]*")
_FROM_PRESET = re.compile(r'from_preset\("[^"\n]*"\)  # [^\n]*')


def check_card(card):
    """What `save_to_preset` takes as `card`, without what is None.

    Raises:
        ValueError: naming the entry, for a key that is unknown, or another kind of value.
    """
    if card is None:
        return {}
    expected = f"None or a dict of {', '.join(TEXTS)} and results"
    if not isinstance(card, dict):
        refuse("card", f"a {type(card).__name__}", expected)
    card = {key: value for key, value in card.items() if value is not None}
    for key, value in card.items():
        if key == "results":
            _check_results(value)
        elif key not in TEXTS:
            refuse("card", f"the key {key!r}", expected)
        elif not isinstance(value, str) or not value.strip():
            refuse("card", f"{value!r} as {key}", "a text")
    return card


def _check_results(results):
    expected = "a dict of names and numbers or texts as results"
    if not isinstance(results, dict) or not results:
        refuse("card", repr(results), expected)
    for name, value in results.items():
        if not isinstance(name, str) or not isinstance(value, (str, numbers.Real)):
            refuse("card", f"{name!r}: {value!r} among the results", expected)


def card_text(model, name, card):
    """The text of a model card.

    Args:
        model: dict of what the model is: "title", "summary", "tags", "pipeline_tag" or None,
            "usage", lines of Python with `{preset}` where `from_preset` goes, and "facts", a dict
            of texts.
        name: how `from_preset` finds the preset.
        card: of `check_card`.
    """
    matter = {"library_name": "keras_regvq", "pipeline_tag": model["pipeline_tag"]}
    if _IDENTIFIER.fullmatch(card.get("license", "")):
        matter["license"] = card["license"]
    matter["tags"] = ["keras", "keras_regvq", *model["tags"]]
    matter = {key: value for key, value in matter.items() if value is not None}
    front = yaml.safe_dump(matter, sort_keys=False)
    call = f"from_preset({json.dumps(name, ensure_ascii=False)})  # or this folder's path"
    sections = [
        f"---\n{MARK}\n{front}---\n\n# {model['title']}",
        card.get("description", model["summary"]),
        f"```python\n{model['usage'].replace('{preset}', call)}\n```",
        f"## The model\n\n{_table(model['facts'])}",
    ]
    training = [
        ("Data", card.get("data")),
        ("Licence of the data", card.get("data_license")),
        ("Licence of the weights", card.get("license")),
    ]
    lines = [f"* **{head}:** {_one_line(text)}" for head, text in training if text]
    if lines:
        sections.append("## Data and licences\n\n" + "\n".join(lines))
    if "results" in card:
        results = {name: _number(value) for name, value in card["results"].items()}
        sections.append(f"## Results\n\n{_table(results)}")
    if "command" in card:
        fence = "````" if "```" in card["command"] else "```"
        sections.append(f"## Made by\n\n{fence}bash\n{card['command'].strip()}\n{fence}")
    return "\n\n".join(sections) + "\n"


def with_handle(text, handle):
    """A card of `card_text`, loading the preset from a hub."""
    call = f'from_preset("{handle}")  # or the path of its folder'
    return _FROM_PRESET.sub(lambda _: call, text, count=1)


def is_own_card(path):
    """Whether a file is there that `card_text` has made, and which nobody has claimed."""
    path = Path(path)
    if not path.is_file():
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        return [file.readline(500).strip(), file.readline(500).strip()] == ["---", MARK]


def may_replace_card(path):
    """Whether a generated card may be put at `path`: nothing is there, or another such card."""
    return not Path(path).exists() or is_own_card(path)


def _table(rows):
    lines = [f"| {_cell(head)} | {_cell(value)} |" for head, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(text):
    return _one_line(text).replace("|", "\\|")


def _one_line(text):
    return " ".join(text.split())


def _number(value):
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, numbers.Integral) else f"{float(value):.4g}"
