"""An ext4 of its own in a file, whose power can be cut. Needs root."""

import fcntl
import os
import pathlib
import struct
import subprocess
import time

GOING_DOWN = 0x8004587D  # FS_IOC_SHUTDOWN
NO_LOG_FLUSH = 2


class LoopDisk:
    """An ext4 of its own whose power can be cut: what was not synced is gone, as after a real one."""

    def __init__(self, base: pathlib.Path, size_mib: int) -> None:
        self.image, self.path = base / "disk.img", base / "disk"
        with self.image.open("wb") as image:
            image.truncate(size_mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True)
        self.path.mkdir()
        self.power_on()

    def power_on(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            subprocess.run(["mount", "-o", "loop", str(self.image), str(self.path)], check=True)
            try:
                list(self.path.iterdir())
                (self.path / "alive").write_bytes(b"")
            except OSError:
                # Another mount namespace still held the one that was cut, and it came back as it was.
                assert time.monotonic() < deadline, "the disk stays dead"
                self.power_off()
                time.sleep(0.2)
            else:
                return

    def cut(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, GOING_DOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def power_off(self) -> None:
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", str(self.path)], stderr=subprocess.DEVNULL, check=False).returncode:
            assert time.monotonic() < deadline, "the mount is still busy"
            time.sleep(0.02)

    def throw_away(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], stderr=subprocess.DEVNULL, check=False)
