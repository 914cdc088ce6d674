"""Grids of one token a position, (h, w), or of q of them, (h, w, q), as a prior has them.

For a prior all are one sequence in raster order, in which the q tokens of a position follow each
other, the first stage first.
"""

import numpy as np
from keras import ops

from keras_regvq.checks.arguments import check_grid, check_positive_integer, refuse
from keras_regvq.checks.arrays import check_mask, check_tokens


def check_prior_grid(grid):
    """Return a prior's grid, an int, (h, w) or (h, w, q), as a tuple of two or three."""
    if isinstance(grid, (tuple, list)) and len(grid) == 3:
        return (*check_grid("grid", grid[:2]), check_positive_integer("grid", grid[2]))
    return check_grid("grid", grid)


def check_tokens_on(grid, argument, tokens, codebook_size):
    """Return tokens as int32 NumPy (B, *grid)."""
    shape = "(B, h, w)" if len(grid) == 2 else f"(B, h, w, {grid[2]})"
    tokens = check_tokens(argument, tokens, codebook_size, shape)
    if tokens.shape[1:] != grid:
        refuse(argument, f"a grid {tokens.shape[1:]}", f"the prior's grid {grid}")
    return tokens


def check_mask_on(grid, mask, count):
    """Return a mask (B, *grid), or of positions alone (B, h, w), as bool NumPy (B, *grid)."""
    if len(grid) == 3 and len(np.shape(mask)) == 3:
        positions = check_mask("mask", mask, (count, *grid[:2]))
        return positions[..., None].repeat(grid[2], axis=-1)
    return check_mask("mask", mask, (count, *grid))


def side_by_side(grid):
    """(h, w) as it is; (h, w, q) as (h, w * q): a plane in which a position's tokens are a row."""
    return grid if len(grid) == 2 else (grid[0], grid[1] * grid[2])


def for_each_token(vectors, grid):
    """Vectors of positions (B, h * w, D) -> of tokens (B, L, D)."""
    return vectors if len(grid) == 2 else ops.repeat(vectors, grid[2], axis=1)
