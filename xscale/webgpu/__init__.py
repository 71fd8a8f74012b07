"""Pictures of a run by WebGPU: one body of one op, face ids and colours, for every maker's GPU.

The WGSL files are package data, each the port of one header of ``csrc``, named in its first line.
The same text runs natively (wgpu-py on Vulkan, Metal or D3D12) and in browsers (``xscale export
RUN page``). Only ``device.py`` imports ``wgpu``.
"""
