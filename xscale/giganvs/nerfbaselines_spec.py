"""Registration of xscale with nerfbaselines, by the entry point ``nerfbaselines.specs``.

Where xscale is not installed as a package, ``NERFBASELINES_REGISTER`` may name it instead.
"""

from nerfbaselines import register

register({
    "id": "xscale",
    "method_class": "xscale.giganvs.nerfbaselines_method:XscaleMethod",
    "backends_order": ["python"],
    "required_features": ["color"],
    "supported_camera_models": ["pinhole", "opencv", "opencv_fisheye", "full_opencv"],
    "supported_outputs": ["color"],
    "metadata": {
        "name": "xscale",
        "description": "Novel views from photos and the photogrammetry mesh made of them",
        "paper_title": "XScale-NVS: Cross-Scale Novel View Synthesis with Hash Featurized Manifold",
        "licenses": [{"name": "MIT"}],
    },
})  # fmt: skip

register({
    "id": "giganvs",
    "load_dataset_function": "xscale.giganvs.nerfbaselines_method:load_giganvs",
})  # fmt: skip
