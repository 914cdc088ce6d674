"""What `benchmarks.tokenizing` is beside: a loop over diffusers' VQModel and a PyTorch DataLoader.

python -m benchmarks.tokenizing_peer COUNT WORKERS
"""

import sys
import time

import torch
from diffusers import VQModel

from keras_regvq.data import scene


class Scenes(torch.utils.data.Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = torch.from_numpy(scene(index).image)
        return image.permute(2, 0, 1).float() / 127.5 - 1.0


def build():
    """1.7 million parameters, as `regvq_scenes_64` has; 4 x 4 pixels a token, 512 codes."""
    return VQModel(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        latent_channels=64,
        num_vq_embeddings=512,
        norm_num_groups=16,
    ).eval()


def main(count, workers):
    model = build()
    loader = torch.utils.data.DataLoader(Scenes(count), batch_size=32, num_workers=workers)
    tokens = []
    start = time.perf_counter()
    with torch.no_grad():
        for images in loader:
            _, _, (_, _, chosen) = model.quantize(model.encode(images).latents)
            tokens.append(chosen.numpy())
    seconds = time.perf_counter() - start
    assert sum(map(len, tokens)) == count * 256
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{count} images, {count / seconds:.1f} images/s, {parameters:,} parameters")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
