"""BFBox: searched backbone and feature pyramid for faces (Liu and Tang, CVPR 2020)."""
