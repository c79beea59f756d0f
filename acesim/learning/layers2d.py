"""The parts of a small convolutional network, forward and backward, for many workers at once.

Images are [C, B, H, W, channels].  A convolution is `layers.linear` over patches: one row of 9 x channels
entries for every pixel, so that it is one matrix product a worker, like everything else here, and what a
worker gets does not depend, in any bit, on who shares its chunk.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from acesim.learning.layers import Array, Workspace

SIDE = 3
"""Height and width of a kernel; images are framed with zeros, so that their size stays."""


def patches(images: Array, name: str, work: Workspace) -> Array:
    """Return what stands around every pixel: [C, B H W, 9 channels], rows first, then columns, then channels."""
    chunk, batch, height, width, channels = images.shape
    framed = work(name + ".framed", (chunk, batch, height + 2, width + 2, channels))
    framed[:, :, 1:-1, 1:-1] = images  # nothing ever writes to the frame: it stays zero
    flat = framed.reshape(chunk, batch, height + 2, -1)
    strips = sliding_window_view(flat, SIDE * channels, axis=3)[:, :, :, ::channels]
    found = work(name + ".patches", (chunk, batch, height, width, SIDE, SIDE * channels))
    for row in range(SIDE):
        found[..., row, :] = strips[:, :, row:row + height]
    return found.reshape(chunk, batch * height * width, -1)


def patches_backward(dpatches: Array, shape: tuple[int, ...], name: str, work: Workspace) -> Array:
    """Add the gradient of every patch to the pixels it was taken from; `shape`: (C, B, H, W)."""
    chunk, batch, height, width = shape
    parts = dpatches.reshape(*shape, SIDE, SIDE, -1)
    channels = parts.shape[-1]
    framed = work(name + ".dframed", (chunk, batch, height + 2, width + 2, channels))
    framed[...] = 0
    for row in range(SIDE):
        for column in range(SIDE):
            framed[:, :, row:row + height, column:column + width] += parts[..., row, column, :]
    dimages = work(name + ".dimages", (*shape, channels))
    dimages[...] = framed[:, :, 1:-1, 1:-1]
    return dimages


def corners(images: Array) -> list[Array]:
    """Return views of the four pixels of every 2 x 2 square; an odd last row or column belongs to none."""
    height, width = (images.shape[axis] // 2 * 2 for axis in (2, 3))
    return [images[:, :, row:height:2, column:width:2] for row in (0, 1) for column in (0, 1)]


def pool(images: Array, name: str, work: Workspace) -> Array:
    """Return the largest of every 2 x 2 square, [C, B, H // 2, W // 2, channels]."""
    first, second, third, fourth = corners(images)
    largest = np.maximum(first, second, out=work(name + ".pooled", first.shape))
    np.maximum(largest, third, out=largest)
    return np.maximum(largest, fourth, out=largest)


def pool_backward(images: Array, largest: Array, dlargest: Array, name: str, work: Workspace) -> Array:
    """Give each gradient to the pixel that was the largest; among equals, to the first."""
    dimages, free = work(name + ".dunpooled", images.shape), work(name + ".free", largest.shape)
    dimages[...] = 0
    free[...] = 1
    chosen = work(name + ".chosen", largest.shape)
    for pixel, dpixel in zip(corners(images), corners(dimages), strict=True):
        np.equal(pixel, largest, out=chosen)
        chosen *= free
        free -= chosen
        np.multiply(chosen, dlargest, out=dpixel)
    return dimages
