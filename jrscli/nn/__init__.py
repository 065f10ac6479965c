"""Torch blocks: arrays are (b, c, i, j, k), field channel n is voxels along axis n."""
