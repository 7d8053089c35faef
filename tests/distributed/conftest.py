"""Leaves out what `test_devices.py` runs in processes of its own."""

import os

collect_ignore = ["by_hand.py", "failing.py", "forks.py", "killed.py"]
collect_ignore.append("together.py")
if "LAMINA_DEVICES" not in os.environ:
    collect_ignore.append("on_8_devices.py")
