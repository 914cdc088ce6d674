"""A file's tensors with one change, and what it is refused with."""

import torch


def change(tensors, how):
    name = "decoder.conv_in.weight"
    if how == "missing":
        del tensors[name]
    elif how == "extra":
        tensors["decoder.more.weight"] = torch.zeros(2)
    elif how == "misshapen":
        tensors[name] = tensors[name][:, :3].clone()
    else:
        tensors["decoder.conv_im.weight"] = tensors.pop(name)
    return tensors


CHANGES = [
    ("missing", r"lacks 1 tensors \(decoder.conv_in.weight\)"),
    ("extra", r"has in addition 1 tensors \(decoder.more.weight\)"),
    ("misshapen", r"decoder.conv_in.weight of shape \(64, 3, 3, 3\) instead of"),
    ("renamed", "lacks 1 .*decoder.conv_in.*has in addition 1 .*decoder.conv_im"),
]
