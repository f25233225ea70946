"""KPNet: faces from their keypoints, on pictures of 256 pixels."""
