"""mything for pathweave. What lies here is found by the entry point `mything` in pyproject.toml.

pathweave imports this module whenever it runs: keep it light.
"""

#: Libraries of devices, from this folder.
devices = ["device.so"]
