"""How much may be made of a file: what it holds, and not what it promises."""

_TIMES = 4
_FREE = 2**20


class Budget:
    """Bytes that may be made of a file of `size` bytes: four times as many, and a million more.

    That is more than PyTorch and NumPy make of any file they write, but for tensors that were
    saved expanded, one value in many places. It is far below what a forged size promises.
    """

    def __init__(self, size):
        self.whole = self.left = _TIMES * size + _FREE

    def take(self, count, what):
        """Set `count` bytes aside for `what`, before they are read or made."""
        if not 0 <= count <= self.left:
            raise ValueError(f"{what} would take {count:,} bytes, far more than the file has")
        self.left -= count
