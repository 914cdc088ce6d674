"""Published tokenizers whose networks `ImageTokenizer` cannot express: known, and refused with why.

Their files look much like a VQ-GAN's: without this, the error would be a list of tensors.
"""

import re

from keras_regvq.checks.arguments import refuse
from keras_regvq.presets.formats.checkpoint_format import CheckpointFormat
from keras_regvq.presets.formats.state_dicts import all_names


class Refused(CheckpointFormat):
    """A project whose checkpoints are known by a tensor, and not read.

    Args:
        project: what to call it.
        mark: pattern that is found in a name of each of its files, and of no other's.
        reason: what its network does that `ImageTokenizer` does not.
    """

    def __init__(self, project, mark, reason):
        self.project, self.reason = project, reason
        self.mark = re.compile(mark)

    def matches(self, checkpoint):
        return checkpoint.is_file and any(map(self.mark.search, all_names(checkpoint.contents)))

    def load(self, checkpoint, image_size=None, config=None):
        received = f"{checkpoint.source}, of {self.project}: {self.reason}"
        refuse("checkpoint", received, "a tokenizer with a VQ-GAN's network and one map of tokens")


# https://github.com/TencentARC/SEED-Voken, src/Open_MAGVIT2, images and video.
OPEN_MAGVIT2 = Refused(
    "Open-MAGVIT2",
    r"(^|\.)decoder\.adaptive\.\d+\.(gamma|beta)\.",
    "its decoder scales and shifts features by statistics of an image's codes, enlarges by "
    "depth-to-space and has more blocks in the middle, and its encoder pads strided convolutions "
    "on both sides",
)
# https://github.com/FoundationVision/VAR, models/vqvae.py.
VAR = Refused(
    "VAR",
    r"(^|\.)quantize\.quant_resi\.",
    "its tokens are ten maps of growing size, each of what the smaller ones have left over",
)
REFUSED = (OPEN_MAGVIT2, VAR)
