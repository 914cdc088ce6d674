"""Where presets may be uploaded to."""

import re

from keras_regvq.checks.arguments import refuse

_FORMS = {
    "hf": re.compile(r"hf://[\w.-]+/[\w.-]+"),
    "kaggle": re.compile(r"kaggle://[\w-]+/[\w-]+/keras/[\w.-]+"),
}


def check_hub_uri(uri):
    """Return (uri, its scheme), or raise a ValueError for what is no place on a hub."""
    expected = "hf://user/name or kaggle://user/model/keras/variation"
    scheme = uri.partition("://")[0] if isinstance(uri, str) else None
    if scheme not in _FORMS or not _FORMS[scheme].fullmatch(uri):
        refuse("uri", repr(uri), expected)
    return uri, scheme
